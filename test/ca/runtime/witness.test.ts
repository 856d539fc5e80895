import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, describe, expect, test } from "vitest";
import { parseCheckpoint } from "../../../ca/audit/checkpoint.ts";
import { parseNote } from "../../../ca/audit/note.ts";
import { readConfig } from "../../../ca/config/config.ts";
import { serveCa, type ServedCa } from "../../../ca/runtime/node.ts";
import { checkpointWitness } from "../../../ca/runtime/witness.ts";
import { auditEvents } from "../../support/running-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-witness-"));
const silent = pino({ level: "silent" });
const dataDir = join(folder, "ca");
const database = join(dataDir, "countersign.db");
const witness = join(dataDir, "witnessed-checkpoint");
afterAll(() => rmSync(folder, { recursive: true }));

function start(more: Readonly<Record<string, string>> = {}, dir = dataDir): Promise<ServedCa> {
  return serveCa(readConfig({ file: { trustDomain: "east", dataDir: dir, listen: "127.0.0.1:0", ...more } }), silent);
}

/** Starts, which writes to the log, and stops: the store, closed, is one file. */
async function startAndStop(more: Readonly<Record<string, string>> = {}): Promise<void> {
  await (await start(more)).stop();
}

function witnessedSize(): number {
  return parseCheckpoint(parseNote(readFileSync(witness, "utf8"))).size;
}

describe("a CA whose log is not what was witnessed", () => {
  test("is kept from starting on an older log, unless the operator accepts the loss, which is recorded", async () => {
    await startAndStop();
    const older = witnessedSize();
    copyFileSync(database, join(folder, "older.db"));
    await startAndStop();
    const newer = witnessedSize();
    expect(newer).toBeGreaterThan(older);
    copyFileSync(witness, join(folder, "kept-elsewhere"));

    copyFileSync(join(folder, "older.db"), database);
    await expect(start()).rejects.toMatchObject({ code: "log_behind_witness", message: expect.stringContaining(`--accept-rollback ${newer}`) });
    // Less than what is lost is not enough.
    await expect(start({ acceptRollback: String(newer - 1) })).rejects.toMatchObject({ code: "log_behind_witness" });
    expect(readFileSync(database).equals(readFileSync(join(folder, "older.db")))).toBe(true);

    const accepted = await start({ acceptRollback: String(newer) });
    const [recorded] = (await auditEvents(accepted.ca.store)).filter(({ type }) => type === "log.rollback-accepted");
    expect(recorded).toMatchObject({ witnessedSize: newer, size: older, actor: "system" });
    await accepted.stop();
    await startAndStop();
    expect(witnessedSize()).toBeGreaterThan(newer);
  });

  test("is kept from starting on a log that grew past the witnessed one by another way", async () => {
    await expect(start({ checkpoint: join(folder, "kept-elsewhere") })).rejects.toMatchObject({ message: expect.stringContaining("not a continuation") });
    await startAndStop({ checkpoint: witness });
  });

  test("is kept from starting on an empty store, on another CA's log, and with a checkpoint that cannot be read", async () => {
    copyFileSync(witness, join(folder, "of-the-first"));
    await expect(start({ store: `sqlite:${folder}/empty.db` })).rejects.toMatchObject({ message: expect.stringContaining("is empty") });
    const other = join(folder, "other");
    await (await start({}, other)).stop();
    copyFileSync(join(folder, "of-the-first"), join(other, "witnessed-checkpoint"));
    await expect(start({}, other)).rejects.toMatchObject({ message: expect.stringContaining("not one of this log") });
    await expect(start({ checkpoint: join(folder, "nowhere") })).rejects.toMatchObject({ code: "log_behind_witness" });
  });

  test("the witness may be kept on another disk, and a CA that crashed has one of a moment before", async () => {
    const elsewhere = join(folder, "elsewhere");
    const running = await start({ witnessFile: elsewhere });
    await expect.poll(() => existsSync(elsewhere)).toBe(true);
    await running.stop();
    writeFileSync(elsewhere, "x");
    await expect(start({ witnessFile: elsewhere })).rejects.toMatchObject({ code: "log_behind_witness" });
  });
});

test("that the newest checkpoint is kept is told each time it is known, also when it is the same, and not when it could not be written", async () => {
  const dir = mkdtempSync(join(tmpdir(), "countersign-kept-"));
  const store = { checkpoint: () => Promise.resolve({ note: "note", size: 1 } as never) };
  let told = 0;
  const warned: string[] = [];
  const log = { info: () => undefined, warn: (_: object, message: string) => void warned.push(message), error: () => undefined };
  for (const [path, times] of [[join(dir, "witness"), 2], [join(dir, "gone", "witness"), 0]] as const) {
    told = 0;
    const witness = checkpointWitness(store, path, log, () => told++);
    witness.start();
    await witness.close();
    expect(told, path).toBe(times);
  }
  expect(warned.length).toBe(2);
  rmSync(dir, { recursive: true });
});
