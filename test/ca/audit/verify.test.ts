import { createPrivateKey, sign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { encodeCheckpoint, parseCheckpoint } from "../../../ca/audit/checkpoint.ts";
import { encodeSignatureLine, parseNote, parseVerifierKey } from "../../../ca/audit/note.ts";
import { verifyLog, type VerifyProgress } from "../../../ca/audit/verify.ts";
import { memoryLog, memoryReader, edit, type MemoryRows } from "../../support/memory-log.ts";
import { createTokenOf, deleteTokenOf, logFixture, newToken } from "../../support/log-fixture.ts";
import { describeTampering, type TamperableStore, type TamperableTable } from "./tampering.ts";

const log = memoryLog();
for (const acts of logFixture(log.verifierKey)) log.commit(acts);

describe("verifyLog", () => {
  const options = () => ({ store: memoryReader(structuredClone(log.rows)) });

  test("takes an empty store for an empty log, unless a key of it is known", async () => {
    const store = memoryReader(memoryLog().rows);
    expect(await verifyLog({ store })).toMatchObject({ ok: true, size: 0, checkpoints: 0 });
    expect(await verifyLog({ store, verifierKey: log.verifierKey })).toMatchObject({ ok: false, kind: "truncated", firstIndex: 0 });
  });

  test("refuses a key and a checkpoint that are none, instead of verifying without them", async () => {
    await expect(verifyLog({ ...options(), verifierKey: "none" })).rejects.toMatchObject({ code: "verifier_key_malformed" });
    await expect(verifyLog({ ...options(), checkpoints: ["none"] })).rejects.toMatchObject({ code: "note_malformed" });
  });

  test("is content with a log that goes on while it reads", async () => {
    const growing = memoryLog();
    const groups = logFixture(growing.verifierKey);
    for (const acts of groups.slice(0, 20)) growing.commit(acts);
    const rest = groups.slice(20).values();
    const reader = memoryReader(growing.rows);
    const store = Object.fromEntries(Object.entries(reader).map(([name, read]) => [name, (query: never) => {
      for (const acts of rest.take(3)) growing.commit(acts);
      return read(query);
    }])) as typeof reader;
    expect(await verifyLog({ store, verifierKey: growing.verifierKey })).toMatchObject({ ok: true });
    expect(rest.next().done).toBe(true);
  });

  test("is content with tokens created and deleted while it reads", async () => {
    const growing = memoryLog();
    for (const acts of logFixture(growing.verifierKey)) growing.commit(acts);
    const reader = memoryReader(growing.rows);
    const late = [[createTokenOf(newToken({ id: "token-late", type: "join" })), deleteTokenOf("token-join-3")]].values();
    const store: typeof reader = {
      ...reader,
      tokens(query) {
        for (const acts of late) growing.commit(acts);
        return reader.tokens(query);
      },
    };
    expect(await verifyLog({ store })).toMatchObject({ ok: true });
    expect(growing.rows.tokens.map(({ id }) => id)).toContain("token-late");
  });

  test("refuses a second checkpoint over the same size", async () => {
    const rows = structuredClone(log.rows);
    rows.checkpoints.push(rows.checkpoints[4]!);
    expect(await verifyLog({ store: memoryReader(rows) })).toMatchObject({ ok: false, kind: "checkpoint" });
  });

  test("refuses a checkpoint of another log, though the same key signed it", async () => {
    const rows = structuredClone(log.rows);
    const { root } = parseCheckpoint(parseNote(rows.checkpoints[4]!.note));
    const { size } = rows.checkpoints[4]!;
    const { name, keyId } = parseVerifierKey(log.verifierKey);
    const text = encodeCheckpoint({ origin: "elsewhere.example/log", size, root });
    const privateKey = createPrivateKey({ key: Buffer.from(log.privateKeyPkcs8), format: "der", type: "pkcs8" });
    rows.checkpoints[4] = { size, note: `${text}\n${encodeSignatureLine({ name, keyId, signature: sign(null, Buffer.from(text), privateKey) })}` };
    expect(await verifyLog({ store: memoryReader(rows) })).toMatchObject({ ok: false, kind: "checkpoint", firstIndex: rows.checkpoints[3]!.size });
  });

  test("repeats nothing of a forged row that a terminal would obey", async () => {
    const rows = structuredClone(log.rows);
    rows.certificates.push({ ...rows.certificates[0]!, spiffeId: "spiffe://\u001b[2Jx\u009b\u202e", serialNumber: "ab", logIndex: 0 });
    const verdict = await verifyLog({ store: memoryReader(rows) });
    expect(verdict).toMatchObject({ ok: false, kind: "row_without_entry", message: expect.stringContaining("spiffe://\ufffd[2Jx\ufffd\ufffd") });
  });

  test("tells how far it is", async () => {
    const seen: VerifyProgress[] = [];
    await verifyLog({ ...options(), onProgress: (progress) => seen.push(progress) });
    const total = log.rows.entries.length;
    expect(seen[0]).toEqual({ stage: "log", entries: 0, total });
    expect(seen).toContainEqual({ stage: "log", entries: total, total });
    expect(seen.at(-1)).toMatchObject({ stage: "tables" });
  });
});

describeTampering("arrays in memory", async () => tamperableMemory(structuredClone(log.rows)));

function tamperableMemory(rows: MemoryRows): TamperableStore {
  const keys = { entries: "index", checkpoints: "size", certificates: "serialNumber", revocations: "serialNumber", tokens: "id", authorities: "id", documents: "name", crls: "list", ceremonies: "id", announcements: "sequence" } as const;
  const tableOf = (table: TamperableTable) => {
    if (table === "state" || table === "subtrees") throw new Error(`${table} is no list`);
    const key: string = keys[table];
    return { list: rows[table] as object[], keyOf: (row: object) => (row as Record<string, string | number>)[key]! };
  };
  return {
    store: memoryReader(rows), verifierKey: log.verifierKey, sign: log.sign,
    async update(table, key, changes) {
      if (table === "state") rows.state = { ...rows.state!, ...changes };
      else if (table === "subtrees") rows.subtrees.set(`1/${key}`, (changes as { hash: Uint8Array }).hash);
      else {
        const { list, keyOf } = tableOf(table);
        edit(list, (row) => keyOf(row) === key, (row) => withoutNull({ ...row, ...changes }));
      }
    },
    async insert(table, row) { tableOf(table).list.push(row); },
    async remove(table, first, last = first) {
      if (table === "subtrees") rows.subtrees.delete(`1/${first}`);
      else {
        const { list, keyOf } = tableOf(table);
        list.splice(0, list.length, ...list.filter((row) => keyOf(row) < first || keyOf(row) > last));
      }
    },
    async moveEntries(first, last, by) {
      rows.entries = rows.entries.map((row) => row.index >= first && row.index <= last ? { ...row, index: row.index + by } : row);
    },
    async close() {},
  };
}

function withoutNull(row: object): object {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null));
}
