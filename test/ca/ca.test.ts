import { randomBytes, X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer, type TLSSocket } from "node:tls";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { auditEvents, chainOf, dayMs, hourMs, newCsr, startTestCa, type TestCa, type TestCaOptions } from "../support/running-ca.ts";
import { testAuthority } from "../support/test-ca.ts";

let dataDir: string;
const open: TestCa[] = [];
async function start(options: TestCaOptions = {}): Promise<TestCa> {
  const host = await startTestCa({ dataDir, ...options });
  open.push(host);
  return host;
}
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "countersign-start-"));
});
afterEach(async () => {
  for (const host of open.splice(0)) await host.close();
  rmSync(dataDir, { recursive: true });
});
const stop = (host: TestCa) => {
  open.splice(open.indexOf(host), 1);
  return host.close();
};

describe("the first start", () => {
  test("makes a root, an issuer, an admin token that works, and logs all of it in one commit", async () => {
    const saved: string[] = [];
    const host = await start({ deps: { saveAdminToken: (token) => void saved.push(token) } });
    const { firstStart } = host.ca;
    expect(saved).toEqual([firstStart?.adminToken]);
    expect(await host.ca.authenticate(firstStart!.adminToken)).toMatchObject({ role: "admin", scope: ["spiffe://east/*"] });
    expect((await host.ca.authorities()).map(({ type, state }) => `${type} ${state}`).sort()).toEqual(["issuer active", "root active"]);
    const types = (await auditEvents(host.store)).map(({ type }) => type);
    expect(types.slice(0, 5)).toEqual(["ca.initialized", "authority.created", "authority.created", "token.created", "certificate.issued"]);
    expect((await host.store.checkpoints({ after: 0, limit: 1 }))[0]?.size).toBe(4);
    expect(host.ca.verifierKey).toMatch(/^countersign\.dev\/east\/log\+[0-9a-f]{8}\+/);
    expect(await host.ca.readiness()).toEqual({ ready: true, reasons: [] });
    expect(host.logged.join()).not.toContain(firstStart!.adminToken);
  });

  test("keeps no private key in clear in the database", async () => {
    const host = await start();
    for (const { key } of await host.store.authorities()) {
      const sealedPrivateKey = key.kind === "sealed" ? key.sealed : new Uint8Array();
      expect(() => parseCertificate(sealedPrivateKey)).toThrow();
      // The OID of EC keys is in each PKCS#8.
      expect(Buffer.from(sealedPrivateKey).includes(Buffer.from("06072a8648ce3d0201", "hex"))).toBe(false);
    }
  });

  test("takes the configured root, and what it issues chains to it", async () => {
    const root = testAuthority({ trustDomain: "east", pathLength: 1 });
    const [cert, key] = [join(dataDir, "root.pem"), join(dataDir, "root.key")];
    writeFileSync(cert, root.pem);
    writeFileSync(key, root.privateKey.export({ format: "pem", type: "pkcs8" }), { mode: 0o600 });
    const host = await start({ settings: { rootCert: cert, rootKey: key } });
    expect(host.ca.firstStart).toMatchObject({ rootImported: true, rootFingerprint: parseCertificate(root.der).fingerprint });
    expect(host.ca.bundle().pem).toBe(root.pem);
    expect(parseCertificate(chainOf(host.ca.apiCredentials())[1]!).issuer).toEqual(parseCertificate(root.der).subject);
  });

  test("refuses a root key that others can read, and an absent one", async () => {
    const root = testAuthority({ trustDomain: "east" });
    const [cert, key] = [join(dataDir, "root.pem"), join(dataDir, "root.key")];
    writeFileSync(cert, root.pem);
    await expect(start({ settings: { rootCert: cert, rootKey: key } })).rejects.toMatchObject({ code: "root_key_unreadable" });
    writeFileSync(key, root.privateKey.export({ format: "pem", type: "pkcs8" }), { mode: 0o644 });
    await expect(start({ settings: { rootCert: cert, rootKey: key } })).rejects.toMatchObject({ code: "key_file_exposed" });
    await expect(start({ settings: { rootCert: join(dataDir, "none"), rootKey: key } })).rejects.toThrow();
  });

  test("by two processes at once leaves one CA; both serve it", async () => {
    const sealingKey = randomBytes(32).toString("base64");
    const env = { COUNTERSIGN_SEALING_KEY: sealingKey };
    const [one, two] = await Promise.all([start({ env }), start({ env })]);
    expect([one.ca.firstStart, two.ca.firstStart].filter((first) => first !== undefined)).toHaveLength(1);
    expect(one.ca.bundle()).toEqual(two.ca.bundle());
    for (const host of [one, two]) {
      await host.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/a" } }, { caller: host.admin });
    }
  });
});

describe("the second start", () => {
  test("resumes: same root, same issuer, same log, the token still good, no second admin token", async () => {
    const first = await start();
    const { adminToken } = first.ca.firstStart!;
    const before = { bundle: first.ca.bundle(), verifierKey: first.ca.verifierKey, authorities: await first.ca.authorities() };
    await stop(first);
    const second = await start();
    expect(second.ca.firstStart).toBeUndefined();
    expect({ bundle: second.ca.bundle(), verifierKey: second.ca.verifierKey, authorities: await second.ca.authorities() }).toEqual(before);
    expect(await second.ca.authenticate(adminToken)).toBeDefined();
  });

  test("after the issuer has expired replaces it before anything is issued", async () => {
    await stop(await start());
    const late = await start({ nowMs: Date.now() + 10 * dayMs });
    expect((await late.ca.authorities()).filter(({ state }) => state === "active")).toHaveLength(2);
    expect((await late.ca.readiness()).ready).toBe(true);
  });

  test.each([
    ["another trust domain", { settings: { trustDomain: "west" } }, "trust_domain_changed"],
    ["another sealing key", { env: { COUNTERSIGN_SEALING_KEY: Buffer.alloc(32, 7).toString("base64") } }, "sealing_key_wrong"],
  ])("with %s is refused", async (_claim, options, code) => {
    await stop(await start());
    await expect(start(options)).rejects.toMatchObject({ code });
  });

  test("without the sealing key file is refused, and no new one is made", async () => {
    await stop(await start());
    const path = join(dataDir, "sealing.key");
    const key = readFileSync(path);
    rmSync(path);
    await expect(start()).rejects.toMatchObject({ code: "sealing_key_missing" });
    expect(existsSync(path)).toBe(false);
    writeFileSync(path, key, { mode: 0o600 });
    expect((await start()).ca.firstStart).toBeUndefined();
  });

  test("with a root configured that is not the one in use is refused", async () => {
    await stop(await start());
    const root = testAuthority({ trustDomain: "east" });
    const [cert, key] = [join(dataDir, "root.pem"), join(dataDir, "root.key")];
    writeFileSync(cert, root.pem);
    writeFileSync(key, "unused", { mode: 0o600 });
    await expect(start({ settings: { rootCert: cert, rootKey: key } })).rejects.toMatchObject({ code: "root_changed" });
  });
});

describe("the API's certificate", () => {
  test("is one of ours with the CA's own ID and the configured names, stored and logged like any other", async () => {
    const host = await start({ settings: { publicUrl: "https://ca.east:8443", apiNames: "10.1.2.3" } });
    const leaf = parseCertificate(chainOf(host.ca.apiCredentials())[0]!);
    expect(leaf.subjectAltName?.uris).toEqual(["spiffe://east/countersign/ca"]);
    expect(leaf.subjectAltName?.dnsNames).toEqual(["ca.east", "localhost"]);
    expect(new X509Certificate(leaf.der).subjectAltName).toContain("10.1.2.3");
    expect(await host.store.certificate(leaf.serialNumber)).toMatchObject({ attestation: "system" });
  });

  test("serves TLS to a client that knows only the root", async () => {
    const host = await start();
    const { key, chain } = host.ca.apiCredentials();
    const server = createServer({ key, cert: chain, minVersion: "TLSv1.3" }, (socket) => socket.end("hello")).listen(0, "127.0.0.1");
    try {
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      for (const servername of ["localhost", ""]) {
        const socket: TLSSocket = connect({ host: "127.0.0.1", port, ca: host.ca.bundle().pem, ...(servername && { servername }) });
        await once(socket, "secureConnect");
        expect(socket.authorized).toBe(true);
        socket.destroy();
      }
    } finally {
      server.close();
    }
  });

  test("is renewed with a new key between half and 70 % of its life, and its listeners get it", async () => {
    const host = await start();
    const before = host.ca.apiCredentials();
    const seen: string[] = [];
    host.ca.onApiCredentials(({ chain }) => seen.push(chain));
    host.clock.nowMs += 11.9 * hourMs;
    await host.ca.tick();
    expect(host.ca.apiCredentials()).toEqual(before);
    host.clock.nowMs += 5 * hourMs;
    await host.ca.tick();
    expect(host.ca.apiCredentials().key).not.toBe(before.key);
    expect(seen).toEqual([host.ca.apiCredentials().chain]);
  });

  test("is renewed when the issuer changes", async () => {
    const host = await start({ settings: { certificateLifetimeMax: "24h" } });
    host.clock.nowMs += 23.5 * hourMs;
    await host.ca.tick();
    const active = (await host.ca.authorities()).find(({ type, state }) => type === "issuer" && state === "active");
    expect(host.ca.apiCredentials().chain).toContain(active!.certificate);
  });
});

describe("readiness", () => {
  test("is false with the reason when the database does not answer", async () => {
    let broken = false;
    const host = await start({ wrapStore: (store) => ({ ...store, ping: () => (broken ? Promise.reject(new Error("down")) : store.ping()) }) });
    broken = true;
    expect(await host.ca.readiness()).toEqual({ ready: false, reasons: ["the database does not answer"] });
  });
});

test("the metrics count what was issued, denied and revoked, and when the authorities end", async () => {
  const host = await start();
  const attestation = { type: "operator", spiffeId: "spiffe://east/a" } as const;
  const { serialNumber } = await host.ca.issue({ csr: newCsr().csr, attestation }, { caller: host.admin });
  await host.ca.revoke(serialNumber, "unspecified", host.admin);
  host.ca.metrics.denied("csr_refused");
  const text = await host.ca.metrics.registry.metrics();
  expect(text).toContain('countersign_certificates_issued_total{attestation="operator"} 1');
  expect(text).toContain('countersign_certificates_issued_total{attestation="system"} 1');
  expect(text).toContain('countersign_requests_denied_total{code="csr_refused"} 1');
  expect(text).toContain("countersign_certificates_revoked_total 1");
  expect(text).toMatch(/countersign_authority_expiry_timestamp_seconds\{authority="[0-9a-f]{40}",type="issuer",state="active"\} \d+/);
  expect(text).toContain("countersign_commit_acts_count");
});
