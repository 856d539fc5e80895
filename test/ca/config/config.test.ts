import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { configTable, renderConfigHelp, renderConfigTable } from "../../../ca/config/table.ts";
import { readConfig } from "../../../ca/config/config.ts";

const hourMs = 3_600_000;

describe("the configuration", () => {
  test("without any setting is the one of the design: 24 h, 48 h renewed at 25 h, 10 y, 20 s, loopback, SQLite", () => {
    expect(readConfig({})).toMatchObject({
      trustDomain: "countersign.local", storeUrl: "sqlite:./.countersign/countersign.db", listenHost: "127.0.0.1", listenPort: 8443,
      publicUrl: "https://127.0.0.1:8443", certificateLifetimeMs: 24 * hourMs, issuerLifetimeMs: 48 * hourMs, issuerRenewBeforeMs: 25 * hourMs,
      rootLifetimeMs: 3650 * 24 * hourMs, clockSkewMs: 20_000, reattestGraceMs: 30 * 24 * hourMs, keyAlgorithm: "ec-p256",
      sealingKeyPath: "./.countersign/sealing.key", apiDnsNames: ["localhost"], apiIpAddresses: ["127.0.0.1", "::1"],
    });
  });

  test("puts the status listener's address into certificates unless another URL is given", () => {
    expect(readConfig({})).toMatchObject({ statusListen: undefined, statusUrl: undefined, crlShards: 8, noRevAvail: false, crlLifetimeMs: 24 * hourMs });
    expect(readConfig({ flags: { "status-listen": "127.0.0.1:8080" } }).statusUrl).toBe("http://127.0.0.1:8080");
    expect(readConfig({ flags: { "status-listen": "0.0.0.0:8080", "status-url": "http://pki.east/status/" } }).statusUrl).toBe("http://pki.east/status");
  });

  test("is frozen", () => {
    expect(Object.isFrozen(readConfig({}))).toBe(true);
  });

  test("prefers a flag to the environment, the environment to the file, the file to the default", () => {
    const file = { trustDomain: "file", listen: "127.0.0.1:1", store: "sqlite:/x" };
    const env = { COUNTERSIGN_TRUST_DOMAIN: "env", COUNTERSIGN_LISTEN: "127.0.0.1:2" };
    expect(readConfig({ file, env, flags: { "trust-domain": "flag" } })).toMatchObject({ trustDomain: "flag", listenPort: 2, storeUrl: "sqlite:/x" });
  });

  test("reads the file that --config or COUNTERSIGN_CONFIG names", () => {
    const folder = mkdtempSync(join(tmpdir(), "countersign-config-"));
    try {
      const path = join(folder, "ca.json");
      writeFileSync(path, JSON.stringify({ trustDomain: "east", apiNames: ["ca.east", "10.0.0.1"], maxConnections: 7 }));
      expect(readConfig({ flags: { config: path } })).toMatchObject({ trustDomain: "east", apiIpAddresses: expect.arrayContaining(["10.0.0.1"]), maxConnections: 7 });
      expect(readConfig({ env: { COUNTERSIGN_CONFIG: path } }).apiDnsNames).toContain("ca.east");
      writeFileSync(path, "{");
      expect(() => readConfig({ flags: { config: path } })).toThrow(expect.objectContaining({ code: "file_unreadable" }));
      writeFileSync(path, '{\n  "trustDomain" "secret"\n}');
      expect(() => readConfig({ flags: { config: path } })).toThrow(/it is not JSON, from line 2, column 17$/);
      writeFileSync(path, "[]");
      expect(() => readConfig({ flags: { config: path } })).toThrow(expect.objectContaining({ code: "file_unreadable" }));
      expect(() => readConfig({ flags: { config: join(folder, "none") } })).toThrow(/ENOENT/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("puts the host of the public URL and of the listener into the API's certificate, not the unspecified address", () => {
    const { apiDnsNames, apiIpAddresses } = readConfig({ flags: { listen: "0.0.0.0:8443", "public-url": "https://ca.east:8443" } });
    expect(apiDnsNames).toEqual(["ca.east", "localhost"]);
    expect(apiIpAddresses).not.toContain("0.0.0.0");
    expect(readConfig({ flags: { listen: "*:8443" } })).toMatchObject({ publicUrl: "https://localhost:8443", apiDnsNames: ["localhost"], apiIpAddresses: ["127.0.0.1", "::1"] });
    expect(readConfig({ flags: { listen: "[fd00::1]:9000" } })).toMatchObject({ publicUrl: "https://[fd00::1]:9000", apiIpAddresses: ["fd00::1"] });
  });
});

describe("is refused", () => {
  const cases: readonly [claim: string, sources: Parameters<typeof readConfig>[0], code: string, hint: RegExp][] = [
    ["a misspelt key", { file: { trustdomian: "x" } }, "unknown_setting", /did you mean trustDomain/],
    ["a status URL that would have to be verified itself", { flags: { "status-url": "https://ca.east" } }, "value_refused", /http:\/\/host/],
    ["a status URL with a query", { flags: { "status-url": "http://ca.east/?a" } }, "value_refused", /http:\/\/host/],
    ["shards that no serial number divides into", { flags: { "crl-shards": "3" } }, "value_refused", /one of 1, 2, 4/],
    ["a CRL that is over before it is fetched", { flags: { "crl-lifetime": "10s" } }, "value_refused", /below 1m/],
    ["noRevAvail for a week", { flags: { "no-rev-avail": "on", "certificate-lifetime-max": "7d", "issuer-renew-before": "8d", "issuer-lifetime": "9d" } }, "contradiction", /below 7d/],
    ["an unknown key", { file: { colour: "x" } }, "unknown_setting", /--help/],
    ["a misspelt flag", { flags: { "trust-domian": "x" } }, "unknown_setting", /did you mean trust-domain/],
    ["a misspelt variable", { env: { COUNTERSIGN_TRUSTDOMAIN: "x" } }, "unknown_setting", /did you mean COUNTERSIGN_TRUST_DOMAIN/],
    ["a duration without unit", { file: { certificateLifetime: "24" } }, "value_refused", /whole number with its unit/],
    ["a number where text belongs", { file: { certificateLifetime: 24 } }, "value_refused", /must be a string/],
    ["a size without unit", { file: { bodyLimit: "64" } }, "value_refused", /KiB/],
    ["a choice that is none", { flags: { "key-algorithm": "rsa-1024" } }, "value_refused", /ec-p256, ec-p384/],
    ["a store of another kind, which is not repeated", { flags: { store: "mysql://user:hunter2@host/ca" } }, "value_refused", /^store is refused: (?!.*hunter2).*postgres:/],
    ["an upper-case trust domain", { flags: { "trust-domain": "East" } }, "value_refused", /a-z/],
    ["a port out of range", { flags: { listen: "127.0.0.1:70000" } }, "value_refused", /host:port/],
    ["a public URL without TLS", { flags: { "public-url": "http://ca" } }, "value_refused", /https/],
    ["a public URL with a path", { flags: { "public-url": "https://ca/x" } }, "value_refused", /https/],
    ["an API name that is none", { flags: { "api-names": "a b" } }, "value_refused", /DNS names/],
    ["no connections at all", { flags: { "max-connections": "0" } }, "value_refused", /above 0/],
    ["a secret in the file", { file: { sealingKey: "x" } }, "value_refused", /COUNTERSIGN_SEALING_KEY/],
    ["a default above the maximum", { flags: { "certificate-lifetime": "30h" } }, "contradiction", /certificateLifetimeMax/],
    ["certificates that could outlive their issuer", { flags: { "issuer-renew-before": "24h" } }, "contradiction", /never shortens/],
    ["an issuer that is always due", { flags: { "issuer-lifetime": "25h" } }, "contradiction", /replaced at once/],
    ["a root that takes over before it is made", { flags: { "root-activate-at": "70%" } }, "contradiction", /rootPrepareAt/],
    ["a part above the whole", { flags: { "root-prepare-at": "101%" } }, "value_refused", /percent/],
    ["a root shorter than an issuer", { flags: { "root-lifetime": "48h" } }, "contradiction", /rootLifetime/],
    ["a skew as long as a certificate", { flags: { "clock-skew": "1h", "certificate-lifetime": "1h", "issuer-renew-before": "26h" } }, "contradiction", /clockSkew/],
    ["a root certificate without its key", { flags: { "root-cert": "x" } }, "contradiction", /belong together/],
  ];
  for (const [claim, sources, code, hint] of cases) {
    test(claim, () => {
      expect(() => readConfig(sources)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(hint) }));
    });
  }

  test("but not what Kubernetes puts into the environment beside a service named countersign", () => {
    const env = { COUNTERSIGN_PORT: "tcp://10.0.0.1:8443", COUNTERSIGN_SERVICE_HOST: "10.0.0.1", COUNTERSIGN_PORT_8443_TCP_ADDR: "10.0.0.1", PATH: "/bin" };
    expect(readConfig({ env }).listenPort).toBe(8443);
  });
});

describe("the table", () => {
  test("has each setting once, under one name in file, environment and flag", () => {
    expect(new Set(configTable.map(({ key }) => key)).size).toBe(configTable.length);
    const setting = configTable.find(({ key }) => key === "issuerRenewBefore");
    expect(setting).toMatchObject({ env: "COUNTERSIGN_ISSUER_RENEW_BEFORE", flag: "issuer-renew-before", default: "25h" });
  });

  test("offers no flag for a secret", () => {
    expect(configTable.filter(({ flag }) => flag === undefined).map(({ key }) => key)).toEqual(["rootKeyPassphrase", "upstream", "sealingKey", "pkcs11Pin"]);
  });

  test("renders as Markdown and as help, a row or an entry for each", () => {
    expect(renderConfigTable().trim().split("\n")).toHaveLength(configTable.length + 2);
    for (const { env } of configTable) expect(renderConfigHelp()).toContain(env);
  });
});
