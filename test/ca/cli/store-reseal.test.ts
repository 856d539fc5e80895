import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openKms } from "../../../ca/signer/kms.ts";
import { countersign, type Ran } from "../../support/command-line.ts";
import { startKmsServer, type KmsServer } from "../../support/kms-server.ts";
import { auditEvents, chainOf, newCsr, startTestCa, type TestCa } from "../../support/running-ca.ts";
import { verifyStore } from "../../support/store-oracle.ts";

const folders: string[] = [];
let server: KmsServer;
let dataDir: string;
let keyId: string;
beforeAll(async () => {
  server = await startKmsServer();
  Object.assign(process.env, server.env);
  keyId = server.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT").keyId;
});
afterAll(async () => {
  await server.close();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), "countersign-reseal-"));
  folders.push(dataDir);
  await (await startTestCa({ dataDir })).close();
});

const sealingKey = () => join(dataDir, "sealing.key");
const reseal = (to: string, env: Readonly<Record<string, string>> = {}): Promise<Ran> =>
  countersign(["store", "reseal", "--to", to], { COUNTERSIGN_DATA_DIR: dataDir, COUNTERSIGN_KMS_ENDPOINT: server.endpoint, ...env });
const start = (settings: Readonly<Record<string, string>> = {}) =>
  startTestCa({ dataDir, settings, deps: { kms: openKms({ endpoint: server.endpoint, limits: { attempts: 2, attemptsWhenUnknown: 2, firstDelayMs: 1 } }) } });

/** Starts, issues below the same issuer as before, and rotates with what it has. @returns the issuer's certificate */
async function use(settings: Readonly<Record<string, string>> = {}): Promise<Uint8Array> {
  const host = await start(settings);
  try {
    const issue = (on: TestCa) => on.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/web" } }, { caller: on.admin });
    const [, issuer] = chainOf(await issue(host));
    await verifyStore(host.store, host.ca.verifierKey);
    return issuer!;
  } finally {
    await host.close();
  }
}

describe("the keys of a store", () => {
  test("move to KMS and back, are the same keys, and open with the new sealing key only", async () => {
    const before = await use();
    expect(await reseal(`kms:${keyId}`)).toMatchObject({ exitCode: 0, stderr: "", stdout: expect.stringContaining("3 private keys are sealed anew") });
    const old = readFileSync(sealingKey());
    rmSync(sealingKey());
    expect(await use()).toEqual(before);

    const path = join(dataDir, "other.key");
    expect(await reseal(`file:${path}`)).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(`COUNTERSIGN_SEALING_KEY_FILE=${path}`) });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const decrypts = server.count("Decrypt");
    expect(await use({ sealingKeyFile: path })).toEqual(before);
    expect(server.count("Decrypt")).toBe(decrypts);
    writeFileSync(sealingKey(), old, { mode: 0o600 });
    await expect(start()).rejects.toMatchObject({ code: "sealing_key_wrong" });
  });

  test("move to another file, which the log tells of without a key", async () => {
    const path = join(dataDir, "next.key");
    expect((await reseal(`file:${path}`)).exitCode).toBe(0);
    const host = await start({ sealingKeyFile: path });
    const [changed] = (await auditEvents(host.store)).filter(({ type }) => type === "sealing.changed");
    expect(changed).toEqual({ time: expect.any(String), actor: "system", type: "sealing.changed", sealing: "key", keys: 3 });
    await host.close();
  });

  test("stay as they are where the sealing key is a wrong one, and the message says so", async () => {
    writeFileSync(sealingKey(), `${Buffer.alloc(32, 7).toString("base64")}\n`);
    expect(await reseal(`kms:${keyId}`)).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/sealed with\s+another\s+sealing\s+key/) });
  });

  test("stay as they are where KMS has no such key", async () => {
    const before = await use();
    expect(await reseal("kms:alias/none")).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/is the key ID\s+right/) });
    expect(await use()).toEqual(before);
  }, 60_000);

  test("stay as they are while a CA runs on them", async () => {
    const host = await start();
    try {
      expect(await reseal(`kms:${keyId}`)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("Stop it first") });
    } finally {
      await host.close();
    }
  });

  test("are sealed by what an earlier try left, which died before it wrote to the store", async () => {
    const path = join(dataDir, "left.key");
    const left = `${Buffer.alloc(32, 9).toString("base64")}\n`;
    writeFileSync(path, left, { mode: 0o600 });
    expect((await reseal(`file:${path}`)).exitCode).toBe(0);
    expect(readFileSync(path, "utf8")).toBe(left);
    await use({ sealingKeyFile: path });
  });
});

test.each([
  [["--to", "file"], "name another"], [["--to", "vault:x"], "--to is kms:KEY-ID"], [[], "--to is missing"],
])("%j is refused, and nothing is made", async (args, said) => {
  const ran = await countersign(["store", "reseal", ...args], { COUNTERSIGN_DATA_DIR: dataDir });
  expect(ran.exitCode).not.toBe(0);
  expect(ran.stderr.replaceAll(/\s+/g, " ")).toContain(said);
});

test("a folder without a CA has nothing to seal, and gets no key", async () => {
  const empty = mkdtempSync(join(tmpdir(), "countersign-reseal-"));
  folders.push(empty);
  expect((await countersign(["store", "reseal", "--to", "file:k"], { COUNTERSIGN_DATA_DIR: empty })).exitCode).toBe(1);
  expect(existsSync(join(empty, "k"))).toBe(false);
});
