import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { apiVariables } from "../../../ca/cli/api.ts";
import { configTable as caTable } from "../../../ca/config/table.ts";
import { encodeBootstrap } from "../../../ca/pki/bootstrap.ts";
import { ConfigError } from "../../../ca/settings/errors.ts";
import { configTable, renderConfigHelp, renderConfigTable } from "../../../proxy/config/table.ts";
import { readConfig } from "../../../proxy/config/config.ts";
import type { SettingSources } from "../../../proxy/config/sources.ts";

const bootstrap = { caUrl: "https://ca.example:8443", token: "join_very-secret", rootFingerprint: "ab".repeat(32), trustDomain: "east" };
const bootstrapText = encodeBootstrap(bootstrap);
const env = { COUNTERSIGN_BOOTSTRAP: bootstrapText };
const folder = mkdtempSync(join(tmpdir(), "countersign-config-"));
afterAll(() => rmSync(folder, { recursive: true }));

const read = (...args: readonly string[]) => readConfig({ args, env });

function refusal(sources: SettingSources): ConfigError {
  try {
    readConfig(sources);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as Error).message).not.toContain(bootstrap.token);
    expect((error as Error).message).not.toContain(bootstrapText.slice(20, 60));
    return error as ConfigError;
  }
  throw new Error("it was not refused");
}

describe("defaults", () => {
  test("are those of the table: a bootstrap string is all that is needed", () => {
    expect(read()).toMatchObject({
      bootstrap, inbound: { host: "*", port: 4143 }, app: { host: "127.0.0.1", port: 8080 }, inboundProtocol: "detect",
      outbound: { host: "127.0.0.1", port: 4140 }, admin: { host: "127.0.0.1", port: 4191 }, scraped: undefined, routes: [], tcpListeners: [], allow: undefined,
      stateDir: undefined, keyAlgorithm: "ec-p256", keyExchange: "hybrid", certificateLifetimeSeconds: undefined, revocationPollMs: 2000, drainTimeoutMs: 30_000, logLevel: "info",
    });
  });

  test("the configuration is frozen", () => {
    expect(Object.isFrozen(read())).toBe(true);
  });
});

describe("opaque ports", () => {
  test("are Linkerd's unless the operator says otherwise, also none", () => {
    expect([...read().opaquePorts]).toEqual([25, 587, 3306, 4444, 5432, 6379, 9300, 11211]);
    expect([...read("--opaque-ports", "25 1521").opaquePorts]).toEqual([25, 1521]);
    expect(read("--opaque-ports", "").opaquePorts.size).toBe(0);
  });

  test.each([["0"], ["65536"], ["smtp"], ["025"]])("are refused as %s", (port) => {
    expect(refusal({ args: ["--opaque-ports", port], env })).toMatchObject({ code: "value_refused" });
  });
});

describe("the Workload API's socket", () => {
  test("is for the proxy's user alone unless the operator says more", () => {
    expect(read().workloadApi).toBeUndefined();
    expect(read("--workload-socket", "/run/w.sock").workloadApi).toEqual({ path: "/run/w.sock", mode: 0o600 });
    expect(read("--workload-socket", "/run/w.sock", "--workload-socket-mode", "0660").workloadApi?.mode).toBe(0o660);
  });

  test.each([["w.sock"], ["/run/"], [`/${"w".repeat(98)}`]])("is refused as %s", (path) => {
    expect(refusal({ args: ["--workload-socket", path], env })).toMatchObject({ code: "value_refused" });
  });
});

describe("the collector of spans", () => {
  test("is none unless one is named", () => {
    expect(read().otlpEndpoint).toBeUndefined();
    expect(read("--otlp-endpoint", "http://127.0.0.1:4318").otlpEndpoint?.origin).toBe("http://127.0.0.1:4318");
  });

  test.each(["127.0.0.1:4318", "ftp://collector", "http://user:hunter2@collector", "http://collector/?key=hunter2"])("is refused as %s, which is not repeated", (url) => {
    const { code, message } = refusal({ args: ["--otlp-endpoint", url], env });
    expect(code).toBe("value_refused");
    expect(message).not.toContain("hunter2");
  });
});

describe("the command after a renewal", () => {
  test("is an argv, and sees our environment without our settings, of which one is a token", () => {
    const { files } = readConfig({ args: ["--write-dir", "/tls", "--on-renewal", "nginx -s reload"], env: { ...env, PATH: "/bin" } });
    expect(files).toEqual({ dir: "/tls", onRenewal: { argv: ["nginx", "-s", "reload"], timeoutMs: 30_000, environment: { PATH: "/bin" } } });
    const file = { writeDir: "/tls", onRenewal: ["sh", "-c", "reload || restart"] };
    expect(readConfig({ env, file }).files?.onRenewal?.argv).toEqual(["sh", "-c", "reload || restart"]);
  });

  test("without files is refused", () => {
    expect(refusal({ args: ["--on-renewal", "nginx -s reload"], env })).toMatchObject({ code: "value_refused" });
  });
});

describe("where a value comes from", () => {
  test("a flag goes before the environment, the environment before the file", () => {
    const file = { app: "127.0.0.1:1", admin: "127.0.0.1:1", inbound: "127.0.0.1:1" };
    const config = readConfig({ args: ["--app", "127.0.0.1:3"], env: { ...env, COUNTERSIGN_PROXY_APP: "127.0.0.1:2", COUNTERSIGN_PROXY_ADMIN: "127.0.0.1:2" }, file });
    expect([config.app.port, config.admin?.port, config.inbound?.port]).toEqual([3, 2, 1]);
  });

  test("a list is a repeated flag, words in the environment, an array in the file", () => {
    const routes = ["a=h:1,spiffe://east/a", "b=h:2,spiffe://east/b"];
    const hosts = (sources: SettingSources) => readConfig({ env, ...sources }).routes.map(({ host }) => host);
    expect(hosts({ args: routes.flatMap((route) => ["--route", route]) })).toEqual(["a", "b"]);
    expect(hosts({ env: { ...env, COUNTERSIGN_PROXY_ROUTE: routes.join("  ") } })).toEqual(["a", "b"]);
    expect(hosts({ file: { route: routes } })).toEqual(["a", "b"]);
  });

  test("the file is named by --config or the environment", () => {
    const path = join(folder, "config.json");
    writeFileSync(path, JSON.stringify({ app: "127.0.0.1:9" }));
    expect(read("--config", path).app.port).toBe(9);
    expect(readConfig({ env: { ...env, COUNTERSIGN_PROXY_CONFIG: path } }).app.port).toBe(9);
    writeFileSync(path, "[]");
    expect(refusal({ args: ["--config", path], env }).code).toBe("file_unreadable");
    expect(refusal({ args: ["--config", join(folder, "none")], env }).code).toBe("file_unreadable");
  });
});

describe("the bootstrap string", () => {
  test("is refused on the command line, where every process could read it, and is never shown", () => {
    for (const args of [["--bootstrap", bootstrapText], [`--bootstrap=${bootstrapText}`], [bootstrapText], ["--bootstrap-file", bootstrapText], ["--app", bootstrapText]]) {
      refusal({ args, env: {} });
    }
    expect(refusal({ args: ["--bootstrap", bootstrapText] }).message).toContain("process list");
    refusal({ env: { COUNTERSIGN_BOOTSTRAP: bootstrapText.slice(0, -4) } });
    refusal({ env, file: { bootstrap: bootstrapText } });
  });

  test("comes from a file that is ours alone", () => {
    const path = join(folder, "bootstrap");
    writeFileSync(path, `${bootstrapText}\n`, { mode: 0o600 });
    expect(readConfig({ args: ["--bootstrap-file", path] }).bootstrap).toEqual(bootstrap);
    chmodSync(path, 0o644);
    expect(refusal({ args: ["--bootstrap-file", path] }).message).toContain("chmod 600");
    expect(refusal({ args: ["--bootstrap-file", join(folder, "none")] }).message).toContain("ENOENT");
  });

  test("may be missing only where a state directory could stand in for it", () => {
    expect(refusal({}).message).toContain("countersign token create");
    expect(readConfig({ args: ["--state-dir", folder] }).bootstrap).toBeUndefined();
  });
});

describe("values", () => {
  test("addresses: host and port, IPv6 in brackets, off", () => {
    expect(read("--inbound", "[::1]:1", "--outbound", "off", "--app", "app.local:2")).toMatchObject({
      inbound: { host: "::1", port: 1 }, outbound: undefined, app: { host: "app.local", port: 2 },
    });
    for (const text of ["", "4143", ":4143", "a:b", "h:65536", "::1:4143", "http://h:1", "h:1:2", "h :1"]) {
      expect(refusal({ args: ["--inbound", text], env }).code).toBe("value_refused");
    }
    for (const text of ["127.0.0.1:0", "*:80"]) expect(refusal({ args: ["--app", text], env }).code).toBe("value_refused");
  });

  test("the admin listener stays on loopback", () => {
    for (const host of ["127.0.0.1", "127.8.0.1", "[::1]", "localhost"]) expect(read("--admin", `${host}:1`).admin?.port).toBe(1);
    for (const host of ["*", "0.0.0.0", "[::]", "10.0.0.1", "127.0.0.1.example"]) expect(refusal({ args: ["--admin", `${host}:1`], env }).message).toContain("loopback");
  });

  test("metrics may be open to others, and are not unless somebody says so", () => {
    expect(read("--metrics", "*:4192").scraped).toEqual({ host: "*", port: 4192 });
    expect(refusal({ args: ["--metrics", "4192"], env }).message).toContain("host:port");
  });

  test("a route names the server's identity, always", () => {
    expect(read("--route", "World.Example:80=10.0.0.1:4143,spiffe://east/world", "--route", "any=[::1]:4143,spiffe://east/any").routes).toMatchObject([
      { host: "world.example", port: 80, address: { host: "10.0.0.1", port: 4143 }, serverId: { uri: "spiffe://east/world" } },
      { host: "any", port: undefined, address: { host: "::1", port: 4143 }, serverId: { uri: "spiffe://east/any" } },
    ]);
    for (const route of ["world=10.0.0.1:4143", "world=10.0.0.1:4143,", "world=10.0.0.1:4143,spiffe://east", "world=10.0.0.1:4143,east/world", "=h:1,spiffe://east/a", "a:b=h:1,spiffe://east/a", "a=h,spiffe://east/a"]) {
      expect(refusal({ args: ["--route", route], env }).code).toBe("value_refused");
    }
  });

  test("a TCP listener as well", () => {
    expect(read("--tcp", "127.0.0.1:5432=db:4143,spiffe://east/db").tcpListeners).toMatchObject([
      { listen: { host: "127.0.0.1", port: 5432 }, address: { host: "db", port: 4143 }, serverId: { uri: "spiffe://east/db" } },
    ]);
    expect(refusal({ args: ["--tcp", "5432=db:4143,spiffe://east/db"], env }).code).toBe("value_refused");
  });

  test("an allow-list that is given and empty admits nobody; one that is not given is another thing", () => {
    expect(read().allow).toBeUndefined();
    expect(read("--allow", "").allow).toEqual([]);
    expect(readConfig({ env: { ...env, COUNTERSIGN_PROXY_ALLOW: "" } }).allow).toEqual([]);
    expect(readConfig({ env, file: { allow: [] } }).allow).toEqual([]);
    expect(read("--allow", "spiffe://east/a/*", "--allow", "spiffe://east/b").allow?.map(({ text }) => text)).toEqual(["spiffe://east/a/*", "spiffe://east/b"]);
    expect(refusal({ args: ["--allow", "spiffe://east/*/b"], env }).code).toBe("value_refused");
  });

  test("a foreign bundle belongs to one trust domain", () => {
    expect([read().foreignBundleMap, read("--foreign-bundle-map", "/etc/map.json").foreignBundleMap]).toEqual([undefined, "/etc/map.json"]);
    expect([...read("--foreign-bundle", "west=/etc/west.json").foreignBundles]).toEqual([["west", "/etc/west.json"]]);
    expect(refusal({ args: ["--foreign-bundle", "west=a", "--foreign-bundle", "west=b"], env }).code).toBe("value_refused");
    expect(refusal({ args: ["--foreign-bundle", "West=a"], env }).code).toBe("value_refused");
    expect(refusal({ args: ["--foreign-bundle", "west"], env }).code).toBe("value_refused");
  });

  test("durations carry their unit, counts are whole", () => {
    expect(read("--drain-timeout", "2m", "--certificate-lifetime", "90m")).toMatchObject({ drainTimeoutMs: 120_000, certificateLifetimeSeconds: 5400 });
    for (const text of ["30", "0s", "-1s", "1.5s", "1w", "", "99999999d"]) expect(refusal({ args: ["--drain-timeout", text], env }).code).toBe("value_refused");
    for (const text of ["0", "1e3", "many"]) expect(refusal({ args: ["--max-connections", text], env }).code).toBe("value_refused");
    expect(refusal({ args: ["--key-algorithm", "rsa-1024"], env }).message).toContain("ec-p256");
  });
});

describe("what nobody knows is refused, with a hint", () => {
  test("flags, environment variables, keys of the file", () => {
    expect(refusal({ args: ["--alow", ""], env })).toMatchObject({ code: "unknown_setting", message: expect.stringContaining("--allow") });
    expect(refusal({ env: { ...env, COUNTERSIGN_PROXY_ALLOWED: "" } })).toMatchObject({ code: "unknown_setting", message: expect.stringContaining("COUNTERSIGN_PROXY_ALLOW?") });
    expect(refusal({ env, file: { Allow: [] } })).toMatchObject({ code: "unknown_setting", message: expect.stringContaining("allow") });
    expect(refusal({ args: ["--something-else", "x"], env }).message).toContain("--help");
    expect(refusal({ args: ["--allow"], env }).message).toContain("needs a value");
    expect(refusal({ args: ["--app", "h:1", "--app", "h:2"], env }).message).toContain("twice");
  });

  test("environment variables without PROXY_, but for those that the CA reads", () => {
    const ofTheCa = [...caTable.map(({ env: name }) => name), ...apiVariables];
    const isRefused = (name: string): boolean => {
      try {
        readConfig({ env: { ...env, [name]: "x" } });
        return false;
      } catch (error) {
        return (error as { code?: string }).code === "unknown_setting";
      }
    };
    for (const name of configTable.map(({ env: known }) => known.replace("PROXY_", "")).filter((each) => each !== "COUNTERSIGN_BOOTSTRAP")) expect([name, isRefused(name)]).toEqual([name, !ofTheCa.includes(name)]);
    expect(refusal({ env: { ...env, COUNTERSIGN_ALLOW: "" } }).message).toContain("did you mean COUNTERSIGN_PROXY_ALLOW?");
    expect(refusal({ env: { COUNTERSIGN_PROXY_BOOTSTRAP: "x" } }).message).toContain("did you mean COUNTERSIGN_BOOTSTRAP?");
  });

  test("but not what Kubernetes adds beside a Service of our name", () => {
    const injected = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_ADMIN", "PORT", "PORT_4143_TCP", "PORT_4143_TCP_ADDR", "METRICS_SERVICE_HOST"];
    expect(() => readConfig({ env: { ...env, ...Object.fromEntries(injected.map((name) => [`COUNTERSIGN_PROXY_${name}`, "tcp://10.0.0.1:1"])) } })).not.toThrow();
  });
});

test("every setting is in the help and in the table for the README, secrets without a flag", () => {
  for (const { key, env: name, flag } of configTable) {
    expect(renderConfigTable()).toContain(`\`${key}\`<br>\`${name}\``);
    expect(renderConfigHelp()).toContain(flag === undefined ? name : `--${flag} `);
  }
  expect(configTable.filter(({ flag }) => flag === undefined).map(({ key }) => key)).toEqual(["bootstrap"]);
});
