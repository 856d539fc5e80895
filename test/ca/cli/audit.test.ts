import { generateKeyPairSync } from "node:crypto";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { checkpointSigner } from "../../../ca/audit/checkpoint.ts";
import { parseNote, parseVerifierKey, verifyNote } from "../../../ca/audit/note.ts";
import { dispatch } from "../../../ca/cli/dispatch.ts";
import { openStore } from "../../../ca/store/open.ts";
import { logFixture } from "../../support/log-fixture.ts";

const origin = "countersign.dev/east/log";
const newKey = () => generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" });
const privateKeyPkcs8 = newKey();
const { verifierKey } = checkpointSigner({ origin, privateKeyPkcs8 });
const folder = mkdtempSync(join(tmpdir(), "countersign-audit-"));
const written = join(folder, "written.db");
let dataDir: string;

beforeAll(async () => {
  const store = await openStore({ url: `sqlite:${written}`, sealer: { origin, privateKeyPkcs8 } });
  for (const acts of logFixture(verifierKey).slice(0, 30)) await Promise.all(acts.map((act) => store.commit(act)));
  await store.close();
});
beforeEach(() => {
  dataDir = mkdtempSync(join(folder, "data-"));
  copyFileSync(written, join(dataDir, "countersign.db"));
  writeFileSync(join(dataDir, "audit-log.vkey"), `${verifierKey}\n`);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs the command with the data directory of the test, unless it is told another. */
async function run(args: readonly string[], { env = { COUNTERSIGN_DATA_DIR: dataDir } as Record<string, string> } = {}) {
  let [stdout, stderr] = ["", ""];
  const io = { stdout: (text: string) => { stdout += text; }, stderr: (text: string) => { stderr += text; }, env };
  const exitCode = await dispatch(["audit", ...args], io);
  return { exitCode, stdout, stderr };
}

function tamper(statement: string): void {
  const attacker = new Database(join(dataDir, "countersign.db"));
  attacker.exec(statement);
  attacker.close();
}

describe("audit verify", () => {
  test("says that a log fits, what it counted and which key it went by, within 80 columns", async () => {
    const { exitCode, stdout, stderr } = await run(["verify"]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toContain(`The audit log ${origin} fits`);
    expect(stdout).toContain(join(dataDir, "audit-log.vkey"));
    expect(stdout).not.toContain("the store itself");
    expect(prose(stdout).filter((line) => line.length >= 80)).toEqual([]);
  });

  test("finds the store by its URL or by the data directory, from options or the environment", async () => {
    for (const args of [["--data-dir", dataDir], ["--store", `sqlite:${join(dataDir, "countersign.db")}`, "--key", verifierKey]]) {
      expect(await run(["verify", ...args], { env: {} })).toMatchObject({ exitCode: 0 });
    }
    expect(await run(["verify"], { env: { COUNTERSIGN_STORE: `sqlite:${written}` } })).toMatchObject({ exitCode: 0 });
  });

  test("names the first entry that does not fit, says what to do and ends with 1", async () => {
    tamper("update audit_entries set body = replace(body, 'cart', 'card') where idx = 30");
    const { exitCode, stdout } = await run(["verify"]);
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^× The audit log does not fit: altered \(entry 30\)\.$/m);
    expect(stdout).toContain("What to do:");
    expect(prose(stdout).filter((line) => line.length >= 80)).toEqual([]);
  });

  test("gives the verdict as one JSON object when asked to", async () => {
    const fits = JSON.parse((await run(["verify", "-o", "json"])).stdout);
    await expect(run(["verify", "-o", "yaml"])).resolves.toMatchObject({ exitCode: 2 });
    expect(fits).toMatchObject({ ok: true, origin, size: expect.any(Number), verifierKey, keySource: "file" });
    expect(Buffer.from(fits.root, "base64")).toHaveLength(32);
    tamper("delete from audit_entries where idx between 30 and 32");
    const { exitCode, stdout } = await run(["verify", "--json"]);
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, kind: "removed", firstIndex: 30, lastIndex: 32, message: expect.any(String) });
  });

  test("refuses a log that is sealed with another key than that of the file or the option", async () => {
    const other = checkpointSigner({ origin, privateKeyPkcs8: newKey() }).verifierKey;
    const { exitCode, stdout } = await run(["verify", "--key", other]);
    expect(exitCode).toBe(1);
    expect(stdout).toContain("another key");
    writeFileSync(join(dataDir, "audit-log.vkey"), other);
    expect(await run(["verify"])).toMatchObject({ exitCode: 1 });
    expect(await run(["verify", "--key", verifierKey])).toMatchObject({ exitCode: 0 });
  });

  test("goes by the store's own key with a caution when there is no other", async () => {
    rmSync(join(dataDir, "audit-log.vkey"));
    const { exitCode, stdout } = await run(["verify"]);
    expect(exitCode).toBe(0);
    expect(stdout).toContain("‼ The key is the one that the store names");
    expect(JSON.parse((await run(["verify", "--json"])).stdout)).toMatchObject({ keySource: "store", verifierKey });
  });

  test("finds by a checkpoint kept elsewhere that the end was cut off with its checkpoints", async () => {
    const kept = join(dataDir, "kept");
    writeFileSync(kept, (await run(["checkpoint"])).stdout);
    expect((await run(["verify", "--checkpoint", kept])).stdout).toContain("1, contained in this log");
    const size = Number((await run(["checkpoint"])).stdout.split("\n")[1]);
    // The last commit of the fixture holds denials, so no row tells of it.
    const cut = `(select max(size) from audit_checkpoints where size < ${size - 2})`;
    tamper(`delete from audit_entries where idx >= ${cut}; delete from audit_checkpoints where size > ${cut}`);
    expect(await run(["verify"])).toMatchObject({ exitCode: 0 });
    const { exitCode, stdout } = await run(["verify", "--checkpoint", kept]);
    expect(exitCode).toBe(1);
    expect(stdout).toContain("cut off");
  });

  test.each([
    ["a store that is not there", ["verify", "--store", "sqlite:/nowhere/at-all.db"], /no database at \/nowhere/],
    ["a checkpoint file that is not there", ["verify", "--checkpoint", "/nowhere/kept"], /\/nowhere\/kept cannot be read: ENOENT/],
    ["a file that is no checkpoint", ["verify", "--checkpoint", import.meta.filename], /audit\.test\.ts is no checkpoint/],
    ["JSON of a checkpoint", ["checkpoint", "-o", "json"], /JSON\s+is\s+for\s+verify/],
    ["a key that is none", ["verify", "--key", "none"], /verifier key/],
    ["an unknown command", ["prove"], /no "audit prove"/],
    ["an unknown option", ["verify", "--fast"], /--fast/],
    ["a stray argument", ["verify", "log.db"], /one argument too many/],
    ["no command", [], /countersign audit verify/],
  ])("ends with 2 and an explanation on stderr for %s", async (_, args, explanation) => {
    const { exitCode, stdout, stderr } = await run(args);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toMatch(explanation);
  });

  test("ends with 2 for a store without a CA, and with 1 when the key of its log is known", async () => {
    const empty = join(dataDir, "empty");
    mkdirSync(empty);
    await (await openStore({ url: `sqlite:${join(empty, "countersign.db")}` })).close();
    expect(await run(["verify", "--data-dir", empty])).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("holds no CA") });
    expect(await run(["verify", "--data-dir", empty, "--key", verifierKey])).toMatchObject({ exitCode: 1 });
    expect(await run(["checkpoint", "--data-dir", empty])).toMatchObject({ exitCode: 2 });
  });

  test("changes nothing in the database it reads", async () => {
    const before = dumpOf(join(dataDir, "countersign.db"));
    await run(["verify"]);
    expect(dumpOf(join(dataDir, "countersign.db")).equals(before)).toBe(true);
  });
});

describe("audit checkpoint", () => {
  test("prints the newest checkpoint, signed by the log", async () => {
    const { exitCode, stdout } = await run(["checkpoint"]);
    expect(exitCode).toBe(0);
    expect(verifyNote(parseNote(stdout), [parseVerifierKey(verifierKey)])).toHaveLength(1);
  });
});

test("audit --help is printed to stdout within 80 columns", async () => {
  const { exitCode, stdout } = await run(["--help"]);
  expect(exitCode).toBe(0);
  expect(stdout.split("\n").filter((line) => line.length >= 80)).toEqual([]);
});

/** Lines of more than one word: keys, roots and paths are as long as they are. */
function prose(text: string): readonly string[] {
  return text.split("\n").filter((line) => !/^ *(?:(?:key|root) +)?\S+$|\(from |no file/.test(line));
}

function dumpOf(path: string): Buffer {
  const database = new Database(path);
  const dump = database.serialize();
  database.close();
  return dump;
}
