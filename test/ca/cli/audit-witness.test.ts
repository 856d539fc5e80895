import { generateKeyPairSync } from "node:crypto";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkpointSigner } from "../../../ca/audit/checkpoint.ts";
import { logCosigner } from "../../../ca/audit/cosignature.ts";
import { parseNote } from "../../../ca/audit/note.ts";
import { dispatch } from "../../../ca/cli/dispatch.ts";
import { openStore } from "../../../ca/store/open.ts";
import { logFixture } from "../../support/log-fixture.ts";

const origin = "countersign.dev/east/log";
const newKey = () => generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" });
const privateKeyPkcs8 = newKey();
const { verifierKey } = checkpointSigner({ origin, privateKeyPkcs8 });
const [west, north] = ["west", "north"].map((name) => logCosigner({ name: `countersign.dev/${name}/witness`, logPrivateKeyPkcs8: newKey() }));
const folder = mkdtempSync(join(tmpdir(), "countersign-audit-witness-"));
const groups = logFixture(verifierKey).slice(0, 12);
const rewritten = groups.map((acts) => acts.map((act) => (act.kind === "record" ? { ...act, entries: [act.entries[0].replace("attestation_refused", "attestation_unknown")] as const } : act)));

/** A CA's data folder with a log of its key: whoever has both can make any history. */
async function history(name: string, told: readonly (readonly (typeof groups)[number][number][])[]): Promise<string> {
  const dataDir = join(folder, name);
  mkdirSync(dataDir);
  const store = await openStore({ url: `sqlite:${join(dataDir, "countersign.db")}`, sealer: { origin, privateKeyPkcs8 } });
  for (const acts of told) await Promise.all(acts.map((act) => store.commit(act)));
  await store.close();
  writeFileSync(join(dataDir, "audit-log.vkey"), `${verifierKey}\n`);
  return dataDir;
}

async function run(dataDir: string, args: readonly string[]) {
  let [stdout, stderr] = ["", ""];
  const io = { stdout: (text: string) => { stdout += text; }, stderr: (text: string) => { stderr += text; }, env: { COUNTERSIGN_DATA_DIR: dataDir }, isTerminal: false };
  return { exitCode: await dispatch(["audit", ...args], io), stdout, stderr };
}

/** What a federated CA was shown and cosigned, as the option names it. */
async function cosigned(dataDir: string, by = west!): Promise<string> {
  const note = (await run(dataDir, ["checkpoint"])).stdout;
  const file = join(mkdtempSync(join(folder, "kept-")), "cosigned");
  writeFileSync(file, note + by.cosign(parseNote(note).text, 1_800_000_000_000));
  return `${by.verifierKey}@${file}`;
}

let told: string;
let other: string;
beforeAll(async () => {
  told = await history("told", groups);
  other = await history("other", rewritten);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("audit verify --witness", () => {
  test("ends with 0 on a log that contains what its witnesses cosigned, and says how many", async () => {
    const { exitCode, stdout } = await run(told, ["verify", "--witness", await cosigned(told), "--witness", await cosigned(told, north)]);
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("2, contained in this log") as string });
  });

  test("ends with 1 on a log that was rewritten with its key, which fits by itself, and names where it forked", async () => {
    expect(await run(other, ["verify"])).toMatchObject({ exitCode: 0 });
    const witness = await cosigned(told);
    const { exitCode, stdout } = await run(other, ["verify", "--witness", witness]);
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 1, stdout: expect.stringMatching(/^× The audit log does not fit: .*\n[^]*^ {2}kind {2}forked$/m) as string });
    expect(JSON.parse((await run(other, ["verify", "--json", "--witness", witness])).stdout)).toMatchObject({ ok: false, kind: "forked" });
  });

  test("ends with 1 on a log whose end was cut off with its checkpoints, which fits by itself, and says that it is truncated", async () => {
    const witness = await cosigned(told);
    const cut = join(folder, "cut");
    mkdirSync(cut);
    for (const file of ["countersign.db", "audit-log.vkey"]) copyFileSync(join(told, file), join(cut, file));
    const attacker = new Database(join(cut, "countersign.db"));
    // Back to what a commit of denials left, so that no row tells of what is gone.
    const size = attacker.prepare("select max(size) from audit_checkpoints where size < (select max(size) from audit_checkpoints)").pluck().get() as number;
    attacker.exec(`delete from audit_entries where idx >= ${size}; delete from audit_checkpoints where size > ${size}`);
    attacker.close();
    expect(await run(cut, ["verify"])).toMatchObject({ exitCode: 0 });
    expect(await run(cut, ["verify", "--witness", witness])).toMatchObject({ exitCode: 1, stdout: expect.stringMatching(/kind {2}truncated$/m) as string });
  });

  test("ends with 1 on a log that was shown differently to two peers, whichever of the two it is now", async () => {
    const views = ["--witness", await cosigned(told, west), "--witness", await cosigned(other, north)];
    for (const dataDir of [told, other]) {
      expect(await run(dataDir, ["verify", ...views])).toMatchObject({ exitCode: 1, stdout: expect.stringMatching(/kind {2}forked$/m) as string });
    }
  });

  test.each<[string, () => Promise<string>, RegExp]>([
    ["a checkpoint that the witness did not sign", async () => (await cosigned(told, north)).replace(/^[^@]+/, west!.verifierKey), /the witness \S+\s+has\s+not\s+signed\s+it/],
    ["no source", async () => west!.verifierKey, /takes the witness's key, an @/],
    ["a file that is not there", async () => `${west!.verifierKey}@/nowhere/cosigned`, /\/nowhere\/cosigned cannot be read: ENOENT/],
  ])("ends with 2 on %s: nothing was verified", async (_claim, witness, why) => {
    const { exitCode, stdout, stderr } = await run(told, ["verify", "--witness", await witness()]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toMatch(why);
  });
});
