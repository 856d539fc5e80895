import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openStream, sealStream } from "../../../ca/backup/sealed-stream.ts";
import { openTableSource } from "../../../ca/store/open-tables.ts";
import { countersign } from "../../support/command-line.ts";
import { newCsr, startTestCa, type TestCa } from "../../support/running-ca.ts";
import { createDatabase } from "../../support/postgres.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-backup-"));
const env = { COUNTERSIGN_BACKUP_PASSPHRASE: "correct horse battery" };
const file = join(folder, "ca.backup");
const dataDir = join(folder, "first");
let ca: TestCa;
let targets = 0;
let target: string;
let checkpoint: string;
let jwtKeyId: string;

beforeAll(async () => {
  mkdirSync(dataDir, { mode: 0o700 });
  ca = await startTestCa({ dataDir });
  writeFileSync(join(dataDir, "admin-token"), `${ca.ca.firstStart!.adminToken}\n`, { mode: 0o600 });
  // Enough for a second chunk: what is wrong with that is found when the first was taken in.
  await Promise.all(Array.from({ length: 40 }, () => issue(ca)));
  jwtKeyId = (await issueJwtSvid(ca)).keyId;
  checkpoint = (await ca.store.checkpoint())!.note;
  // The CA goes on while its backup is made.
  expect(await countersign(["backup", "--out", file, "--data-dir", dataDir], env)).toMatchObject({ exitCode: 0 });
});
beforeEach(() => {
  target = join(folder, `restored-${targets += 1}`);
});
afterAll(async () => {
  await ca.close();
  rmSync(folder, { recursive: true });
});

describe("a backup", () => {
  test("is a new file, its owner's alone, that shows nothing of what is in it", async () => {
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const bytes = readFileSync(file);
    for (const secret of ["spiffe://", readFileSync(join(dataDir, "sealing.key"), "utf8").trim()]) expect(bytes.includes(secret)).toBe(false);
    const again = await countersign(["backup", "--out", file, "--data-dir", dataDir], env);
    expect(again).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("replaces no file") });
    expect(readFileSync(file).equals(bytes)).toBe(true);
  });

  test("is the whole CA on another machine: keys, log, tokens and all; only its feed begins anew", async () => {
    const restored = await restore();
    expect(restored).toMatchObject({ exitCode: 0 });
    for (const name of ["sealing.key", "admin-token"]) {
      expect(readFileSync(join(target, name), "utf8")).toBe(readFileSync(join(dataDir, name), "utf8"));
      expect(statSync(join(target, name)).mode & 0o777).toBe(0o600);
    }
    const again = await startTestCa({ dataDir: target });
    expect(again.ca.firstStart).toBeUndefined();
    expect(await again.ca.authenticate(readFileSync(join(target, "admin-token"), "utf8").trim())).toMatchObject({ role: "admin" });
    await issue(again);
    expect((await issueJwtSvid(again)).keyId).toBe(jwtKeyId);
    const [before, after] = [await ca.store.state(), await again.store.state()];
    expect({ ...after, feedEpoch: "" }).toEqual({ ...before, feedEpoch: "" });
    expect(after!.feedEpoch).not.toBe(before!.feedEpoch);
    await again.close();
  });

  test("of a CA on SQLite is restored to Postgres too", async () => {
    const url = await createDatabase();
    expect(await restore(["--store", url])).toMatchObject({ exitCode: 0 });
    const source = await openTableSource(url, { exclusive: true });
    expect((await source.reads.checkpoint())!.note).toBe(checkpoint);
    await source.close();
  });

  test("older than a checkpoint that was kept elsewhere is refused", async () => {
    writeFileSync(join(folder, "kept"), checkpoint);
    await issue(ca);
    writeFileSync(join(folder, "newer"), (await ca.store.checkpoint())!.note);
    expect(await restore(["--checkpoint", join(folder, "newer")])).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("older") });
    expect(existsSync(target)).toBe(false);
    expect(await restore(["--checkpoint", join(folder, "kept")])).toMatchObject({ exitCode: 0 });
  });

  test("that was cut off or altered leaves nothing behind, and neither does a wrong passphrase", async () => {
    const bytes = readFileSync(file);
    const damaged = join(folder, "damaged");
    writeFileSync(damaged, bytes.subarray(0, -100));
    expect(await restore([], damaged)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("damaged") });
    expect(existsSync(join(target, "sealing.key"))).toBe(false);
    expect(await rowsIn(target)).toBe(0);
    expect(bytes.length).toBeGreaterThan(70_000);
    // Whole as a file, and made by one that stopped in the middle.
    const { COUNTERSIGN_BACKUP_PASSPHRASE: passphrase } = env;
    const records = (await collect(openStream(passphrase, Readable.from([bytes])))).toString().split("\n");
    expect(records.at(-2)).toBe('{"kind":"end"}');
    writeFileSync(damaged, await collect(sealStream(passphrase, Readable.from([Buffer.from(`${records.slice(0, -2).join("\n")}\n`)]))));
    expect(await restore([], damaged)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("ends too early") });
    expect(await rowsIn(target)).toBe(0);
    const wrong = await countersign(["restore", "--from", file, "--data-dir", target], { COUNTERSIGN_BACKUP_PASSPHRASE: "another one entirely" });
    expect(wrong).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("passphrase") });
  });

  test("never replaces a sealing key, nor a store that has something in it", async () => {
    mkdirSync(target, { mode: 0o700 });
    writeFileSync(join(target, "sealing.key"), "another\n", { mode: 0o600 });
    expect(await restore()).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("another sealing.key") });
    expect(readFileSync(join(target, "sealing.key"), "utf8")).toBe("another\n");
    expect(await rowsIn(target)).toBe(0);
    const full = await countersign(["restore", "--from", file, "--store", `sqlite:${dataDir}/countersign.db`, "--data-dir", target], env);
    expect(full).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("countersign restore:") });
  });

  test("needs a passphrase, which is not taken from the command line", async () => {
    expect(await countersign(["backup", "--out", join(folder, "x")])).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("passphrase") });
    const short = await countersign(["backup", "--out", join(folder, "x"), "--data-dir", dataDir], { COUNTERSIGN_BACKUP_PASSPHRASE: "short" });
    expect(short).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("12 characters") });
    const open = join(folder, "open");
    writeFileSync(open, env.COUNTERSIGN_BACKUP_PASSPHRASE, { mode: 0o644 });
    for (const command of [["backup", "--out", join(folder, "x")], ["restore", "--from", file]]) {
      expect(await countersign([...command, "--data-dir", dataDir, "--passphrase-file", open])).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("chmod 600") });
    }
    expect(existsSync(join(folder, "x"))).toBe(false);
  });
});

function restore(args: readonly string[] = [], from = file) {
  return countersign(["restore", "--from", from, "--data-dir", target, ...args], env);
}

function issue({ ca: { issue: issueOn }, admin }: TestCa) {
  return issueOn({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/cart" } }, { caller: admin });
}

function issueJwtSvid({ ca: { issueJwtSvid: issueOn }, admin }: TestCa) {
  return issueOn({ audience: ["db"], spiffeId: "spiffe://east/ns/shop/sa/cart" }, admin);
}

async function collect(parts: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(parts));
}

async function rowsIn(folderOf: string): Promise<number> {
  const source = await openTableSource(`sqlite:${folderOf}/countersign.db`, { exclusive: true });
  let rows = 0;
  for (const table of source.tables) if (table !== "log_head") rows += await source.count(table);
  await source.close();
  return rows;
}
