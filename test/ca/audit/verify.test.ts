import { memoryLog, memoryReader, edit, type MemoryRows } from "../../support/memory-log.ts";
import { logFixture } from "../../support/log-fixture.ts";
import { describeTampering, type TamperableStore, type TamperableTable } from "./tampering.ts";

const log = memoryLog();
for (const acts of logFixture(log.verifierKey)) log.commit(acts);

describeTampering("arrays in memory", async () => tamperableMemory(structuredClone(log.rows)));

function tamperableMemory(rows: MemoryRows): TamperableStore {
  const keys = { entries: "index", checkpoints: "size", certificates: "serialNumber", revocations: "serialNumber", tokens: "id", authorities: "id" } as const;
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
