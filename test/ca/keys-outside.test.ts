import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { openKms, type Kms } from "../../ca/signer/kms.ts";
import { StoreError } from "../../ca/store/errors.ts";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { validatePath } from "../../ca/pki/path.ts";
import { decodePem } from "../../ca/pki/pem.ts";
import { countersign } from "../support/command-line.ts";
import { startKmsServer, type KmsServer } from "../support/kms-server.ts";
import { auditEvents, chainOf, hourMs, newCsr, startTestCa, type TestCa, type TestCaOptions } from "../support/running-ca.ts";
import { createSoftHsm, softHsmAvailable } from "../support/softhsm.ts";
import { verifyStore } from "../support/store-oracle.ts";

let server: KmsServer;
beforeAll(async () => {
  server = await startKmsServer();
  Object.assign(process.env, server.env);
});
afterAll(() => server.close());

const running: TestCa[] = [];
const folders: string[] = [];
afterEach(async () => {
  for (const host of running.splice(0)) await host.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  Object.assign(server.faults, { throttleNext: 0, unknownNext: 0, internalNext: 0, delayMs: 0, hold: undefined });
});

const quickKms = (): Kms => openKms({ endpoint: server.endpoint, limits: { attempts: 2, attemptsWhenUnknown: 2, firstDelayMs: 1 } });
const folder = (): string => folders[folders.push(mkdtempSync(join(tmpdir(), "countersign-kms-"))) - 1]!;

async function start(options: TestCaOptions): Promise<TestCa> {
  const host = await startTestCa({ ...options, deps: { kms: quickKms(), ...options.deps } });
  running.push(host);
  return host;
}

async function stop(host: TestCa): Promise<void> {
  running.splice(running.indexOf(host), 1);
  await host.close();
}

const kmsRoot = (spec = "ECC_NIST_P256") => ({ rootKey: `kms:${server.createKey(spec).keyId}` });
const issue = (host: TestCa) =>
  host.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/web" } }, { caller: host.admin });
const rootOf = async (host: TestCa) => (await host.store.authorities()).find(({ type }) => type === "root")!;
const metricsOf = (host: TestCa) => host.ca.metrics.registry.metrics();

describe("a root whose key is in KMS", () => {
  test.each(["ECC_NIST_P384", "RSA_2048"])("is made by the key that is there (%s), each signature announced before it is made", async (spec) => {
    const before = server.calls.length;
    const host = await start({ settings: kmsRoot(spec) });
    const root = await rootOf(host);
    expect(root.key).toMatchObject({ kind: "kms", keyId: expect.stringContaining("arn:aws:kms:") });
    expect(parseCertificate(root.certificate).fingerprint).toBe(host.ca.firstStart?.rootFingerprint);
    const events = (await auditEvents(host.store)).map(({ type }) => type);
    expect(events).toEqual([
      "ca.initialized", "token.created", "signature.intended", "signature.intended", "authority.created", "authority.created", "certificate.issued",
    ]);
    expect(server.calls.slice(before).filter(({ operation }) => operation === "Sign")).toHaveLength(2);
    await verifyStore(host.store, host.ca.verifierKey);
  });

  test("is asked for issuers, never for certificates of workloads", async () => {
    const host = await start({ settings: kmsRoot() });
    const asked = server.count("Sign");
    for (let count = 0; count < 20; count++) await issue(host);
    expect(server.count("Sign")).toBe(asked);
    const calls = server.calls.length;
    for (let count = 0; count < 20; count++) await issue(host);
    expect(server.calls.length).toBe(calls);
    host.clock.nowMs += 24 * hourMs;
    await host.ca.tick();
    expect(server.count("Sign")).toBe(asked + 1);
    const [, issuer] = chainOf(await issue(host));
    expect(parseCertificate(issuer!).notAfterMs).toBeGreaterThan(host.clock.nowMs + 47 * hourMs);
  });

  test("dies in the middle of its first start and goes on at the next", async () => {
    const dataDir = folder();
    const settings = kmsRoot();
    let broken = true;
    const failing = start({
      settings, dataDir,
      wrapStore: (store) => ({
        ...store,
        async commit(act) {
          if (broken && act.kind === "change-authorities") throw new StoreError("store_unavailable", "pulled the plug");
          return store.commit(act);
        },
      }),
    });
    await expect(failing).rejects.toMatchObject({ code: "store_unavailable" });
    broken = false;
    const host = await start({ settings, dataDir });
    await issue(host);
    await verifyStore(host.store, host.ca.verifierKey);
    expect((await auditEvents(host.store)).filter(({ type }) => type === "signature.intended")).toHaveLength(4);
    expect((await host.store.authorities()).map(({ type }) => type).sort()).toEqual(["issuer", "root"]);
  });

  test("is one, though two replicas start for the first time at once", async () => {
    const dataDir = folder();
    const settings = kmsRoot();
    const [one, other] = await Promise.all([start({ settings, dataDir }), start({ settings, dataDir })]);
    expect(decodePem(one.ca.bundle().pem, "CERTIFICATE")).toEqual(decodePem(other.ca.bundle().pem, "CERTIFICATE"));
    expect(decodePem(one.ca.bundle().pem, "CERTIFICATE")).toHaveLength(1);
    await verifyStore(one.store, one.ca.verifierKey);
  });

  test("may be one that is there already", async () => {
    const first = await start({ settings: kmsRoot() });
    const { certificate, key } = await rootOf(first);
    const dataDir = folder();
    const rootCert = join(first.dataDir, "imported.pem");
    writeFileSync(rootCert, first.ca.bundle().pem);
    const keyId = key.kind === "kms" ? key.keyId : "";
    const host = await start({ settings: { rootCert, rootKey: `kms:${keyId}` }, dataDir });
    expect((await rootOf(host)).certificate).toEqual(certificate);
    await issue(host);
    await expect(start({ settings: { rootCert, ...kmsRoot() } })).rejects.toMatchObject({ code: "root_key_mismatch" });
  });
});

test("a root in KMS is followed by one in KMS, which the old one vouches for", async () => {
  const dataDir = folder();
  const host = await start({ settings: kmsRoot(), dataDir });
  const inFolder = (name: string): string => join(dataDir, name);
  const env = { ...server.env, COUNTERSIGN_KMS_ENDPOINT: server.endpoint, COUNTERSIGN_TRUST_DOMAIN: "east", COUNTERSIGN_DATA_DIR: dataDir };
  const run = async (...args: readonly string[]): Promise<string> => {
    const { exitCode, stdout, stderr } = await countersign(["ceremony", ...args], env);
    if (exitCode !== 0) throw new Error(stderr);
    return stdout;
  };
  const key = `kms:${server.createKey("ECC_NIST_P384").keyId}`;
  const fingerprint = /^ {2}([0-9a-f-]{24})$/m.exec(await run("request", "root", "--out", inFolder("root.request")))?.[1] ?? "";
  await run("sign", inFolder("root.request"), "--key", key, "--out", inFolder("root.answer"), "--confirm", fingerprint);
  await expect(run("import", inFolder("root.answer"), "--key", kmsRoot().rootKey)).rejects.toThrow(/not the key\s+of the root/);
  expect(await run("import", inFolder("root.answer"), "--key", key)).toContain("is prepared");
  const next = (await host.store.authorities()).find(({ state }) => state === "prepared")!;
  expect(next.key).toMatchObject({ kind: "kms" });
  const [old, cross] = [(await rootOf(host)).certificate, next.crossCertificate!].map(parseCertificate);
  validatePath({ leaf: cross!, intermediates: [], anchors: [old!], nowMs: Date.now() });
  await host.ca.tick();
  expect(decodePem(host.ca.bundle().pem, "CERTIFICATE")).toHaveLength(2);
  await verifyStore(host.store, host.ca.verifierKey);
});

describe("the next root's key, named beforehand,", () => {
  const rotateRoot = (host: TestCa) => host.ca.operateAuthority({ action: "rotate", type: "root" }, host.admin);
  const roots = async (host: TestCa) => (await host.store.authorities()).filter(({ type }) => type === "root").map(({ state, key }) => `${state} ${key.kind}`);

  test("takes over from a root in the store by itself when that is due, in KMS from then on", async () => {
    const keyId = server.createKey("ECC_NIST_P256").keyId;
    const host = await start({ settings: { nextRootKey: `kms:${keyId}`, rootLifetime: "100d" } });
    host.clock.nowMs += 79 * 24 * hourMs;
    await host.ca.tick();
    expect(await roots(host)).toEqual(["active sealed", "prepared kms"]);
    const next = (await host.store.authorities()).find(({ state }) => state === "prepared")!;
    validatePath({ leaf: parseCertificate(next.crossCertificate!), intermediates: [], anchors: [parseCertificate((await rootOf(host)).certificate)], nowMs: host.clock.nowMs });
    host.clock.nowMs += 10 * 24 * hourMs;
    await host.ca.tick();
    expect(await roots(host)).toEqual(["retiring sealed", "active kms"]);
    const asked = server.count("Sign");
    await issue(host);
    expect(server.count("Sign")).toBe(asked);
    await verifyStore(host.store, host.ca.verifierKey);
  });

  test("is taken once: where it is an authority's already, nothing is made and readiness says why", async () => {
    const settings = kmsRoot();
    const host = await start({ settings: { ...settings, nextRootKey: settings.rootKey } });
    await expect(rotateRoot(host)).rejects.toMatchObject({ code: "authority_state", message: expect.stringContaining("make another key") });
    expect(await roots(host)).toEqual(["active kms"]);
    expect((await host.ca.readiness()).warnings?.join()).toContain("make another key");
  });

  test("is what a root in KMS is followed by; without it, the operator is told what to do", async () => {
    const dataDir = folder();
    const settings = kmsRoot();
    const before = await start({ settings, dataDir });
    await expect(rotateRoot(before)).rejects.toMatchObject({ code: "authority_state", message: expect.stringContaining("nextRootKey") });
    await stop(before);
    const host = await start({ settings: { ...settings, nextRootKey: kmsRoot("ECC_NIST_P384").rootKey }, dataDir });
    await rotateRoot(host);
    expect(await roots(host)).toEqual(["retiring kms", "active kms"]);
    await verifyStore(host.store, host.ca.verifierKey);
  });
});

describe("KMS that is down or slow", () => {
  test("at the start keeps nobody from a CA whose issuer lives; readiness and metrics say it", async () => {
    const dataDir = folder();
    const settings = kmsRoot();
    const first = await start({ settings, dataDir });
    const { nowMs } = first.clock;
    await stop(first);
    await server.down();
    try {
      // Due for rotation as well: 24 h of 48 h are gone.
      const host = await start({ settings, dataDir, nowMs: nowMs + 23.5 * hourMs });
      await issue(host);
      await expect.poll(async () => (await host.ca.readiness()).warnings?.[0]).toContain("the kms key of authority");
      expect((await host.ca.readiness()).ready).toBe(true);
      expect(await metricsOf(host)).toMatch(/countersign_authority_key_available\{authority="[0-9a-f]+",location="kms"\} 0/);
    } finally {
      await server.up();
    }
  });

  test("refuses an operator's step in words, and changes nothing", async () => {
    const host = await start({ settings: kmsRoot() });
    const [, before] = chainOf(await issue(host));
    await server.down();
    try {
      const issuer = (await host.ca.authorities()).find(({ type }) => type === "issuer")!;
      for (const command of [{ action: "rotate", type: "issuer" }, { action: "taint", id: issuer.id }] as const) {
        await expect(host.ca.operateAuthority(command, host.admin)).rejects.toMatchObject({ code: "issuer_unavailable", message: expect.stringContaining("nothing was changed") });
      }
    } finally {
      await server.up();
    }
    expect(chainOf(await issue(host))[1]).toEqual(before);
  });

  test("during a rotation is not noticed by workloads until the issuer's end, and from then on until it is back", async () => {
    const host = await start({ settings: kmsRoot() });
    await server.down();
    try {
      host.clock.nowMs += 23.5 * hourMs;
      await host.ca.tick();
      await issue(host);
      expect(host.logged.join()).toContain("Sign with the KMS key");
      host.clock.nowMs += 2 * hourMs;
      await expect(issue(host)).rejects.toMatchObject({ code: "issuer_unavailable" });
      expect(await host.ca.readiness()).toMatchObject({ ready: false, warnings: [expect.stringContaining("kms key")] });
    } finally {
      await server.up();
    }
    host.clock.nowMs += 61_000;
    await issue(host);
    expect(await host.ca.readiness()).toEqual({ ready: true, reasons: [] });
    expect(await metricsOf(host)).toMatch(/countersign_authority_key_available\{.*\} 1/);
  });

  test("that takes its time for a signature delays no workload", async () => {
    const host = await start({ settings: kmsRoot() });
    const [, before] = chainOf(await issue(host));
    let answer: () => void = () => undefined;
    const signs = server.count("Sign");
    server.faults.hold = new Promise((resolve) => (answer = resolve));
    host.clock.nowMs += 23.5 * hourMs;
    const ticked = host.ca.tick();
    for (let count = 0; count < 5; count++) expect(chainOf(await issue(host))[1]).toEqual(before);
    expect(server.count("Sign")).toBe(signs);
    answer();
    await ticked;
    expect(chainOf(await issue(host))[1]).not.toEqual(before);
  });

  test("is asked again at growing intervals, not at each tick", async () => {
    const host = await start({ settings: kmsRoot() });
    await server.down();
    try {
      host.clock.nowMs += 23.5 * hourMs;
      const intents = async () => (await auditEvents(host.store)).filter(({ type }) => type === "signature.intended").length;
      const before = await intents();
      for (let second = 0; second < 60; second++) {
        await host.ca.tick();
        host.clock.nowMs += 1000;
      }
      // At 0, 5, 15, 35 s.
      expect((await intents()) - before).toBe(4);
    } finally {
      await server.up();
    }
  });
});

describe("a KMS key that is not what it was", () => {
  test("signs nothing that is used, and the operator is told at the start", async () => {
    const dataDir = folder();
    const key = server.createKey("ECC_NIST_P256");
    const settings = { rootKey: `kms:${key.keyId}` };
    const first = await start({ settings, dataDir });
    const { nowMs } = first.clock;
    await stop(first);
    const other = server.createKey("ECC_NIST_P256");
    Object.assign(key, { privateKey: other.privateKey, spki: other.spki });
    const host = await start({ settings, dataDir, nowMs });
    await expect.poll(async () => (await host.ca.readiness()).warnings?.[0]).toContain("is not the key of the authority's certificate");
    host.clock.nowMs += 23.5 * hourMs;
    await host.ca.tick();
    expect(host.logged.join()).toContain("not by the pinned key");
    expect(await host.store.authorities()).toHaveLength(2);
  });
});

describe("a sealing key that KMS wraps", () => {
  const settings = () => ({ sealing: `kms:${server.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT").keyId}` });

  test("is in no file, and opens the store again", async () => {
    const dataDir = folder();
    const chosen = settings();
    const first = await start({ settings: chosen, dataDir });
    expect(existsSync(join(dataDir, "sealing.key"))).toBe(false);
    const issued = await issue(first);
    await stop(first);
    // The store knows what it needs: the setting is for the first start.
    const host = await start({ settings: {}, dataDir });
    expect(chainOf(await issue(host))[1]).toEqual(chainOf(issued)[1]);
    await stop(host);
    await server.down();
    try {
      await expect(start({ settings: chosen, dataDir })).rejects.toMatchObject({ code: "sealing_key_unavailable", message: expect.stringContaining("Decrypt") });
    } finally {
      await server.up();
    }
  });
});

describe.skipIf(!softHsmAvailable)("a root whose key is on a token", () => {
  test("signs root and issuer there, and its PIN is in no entry", async () => {
    const hsm = createSoftHsm();
    try {
      Object.assign(process.env, hsm.env);
      hsm.createKey("root", "EC:prime256v1");
      const host = await start({ settings: { rootKey: hsm.uri("root") } });
      expect((await rootOf(host)).key).toEqual({ kind: "pkcs11", uri: hsm.uri("root") });
      await issue(host);
      expect(JSON.stringify(await auditEvents(host.store))).not.toContain(hsm.pin);
      await verifyStore(host.store, host.ca.verifierKey);
      await stop(host);
    } finally {
      hsm.remove();
    }
  });
});
