import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { getTableColumns } from "drizzle-orm";
import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openStore } from "../../../ca/store/open.ts";
import { openTableSource, openTableTarget } from "../../../ca/store/open-tables.ts";
import * as postgresSchema from "../../../ca/store/schema-postgres.ts";
import * as sqliteSchema from "../../../ca/store/schema-sqlite.ts";
import { copyTables, everyPage, type Row, type TablePage } from "../../../ca/store/table-copy.ts";
import { tablesOf } from "../../../ca/store/table-columns.ts";
import { countersign } from "../../support/command-line.ts";
import { logFixture } from "../../support/log-fixture.ts";
import { createDatabase } from "../../support/postgres.ts";
import { verifyStore } from "../../support/store-oracle.ts";
import { newSealer, record } from "./acts.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-copy-"));
const { sealer, verifierKey } = newSealer();
const full = `sqlite:${folder}/full.db`;
let files = 0;
const newFile = () => `sqlite:${folder}/${files += 1}.db`;
let postgres: string;

beforeAll(async () => {
  const store = await openStore({ url: full, sealer });
  for (const acts of logFixture(verifierKey).slice(0, 30)) await Promise.all(acts.map((act) => store.commit(act)));
  await store.acquireLease({ name: "authority", holder: "a", ttlMs: 1 });
  await store.close();
});
beforeEach(async () => {
  postgres = await createDatabase();
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("no table is forgotten", () => {
  test("on either kind of database the schema names all that the migrations make, alike", async () => {
    await (await openTableTarget(postgres)).close();
    const client = new pg.Client({ connectionString: postgres });
    await client.connect();
    const names = async (query: string) => (await client.query<{ name: string }>(query)).rows.map(({ name }) => name);
    const made = await names("select tablename as name from pg_tables where schemaname = 'public' order by 1");
    // A counter would have to be moved too: the schema has none.
    expect(await names("select sequencename as name from pg_sequences where schemaname = 'public'")).toEqual([]);
    await client.end();
    const file = new Database(full.slice("sqlite:".length));
    const inFile = file.prepare("select name from sqlite_master where type = 'table' and name not like '\\_\\_drizzle%' escape '\\' and name not like 'sqlite%' order by 1").pluck().all();
    file.close();
    expect([...tablesOf(postgresSchema).keys()].sort()).toEqual(made);
    expect([...tablesOf(sqliteSchema).keys()].sort()).toEqual(inFile);
    expect(inFile).toEqual(made);
    const propertiesOf = (schema: object) => Object.fromEntries([...tablesOf(schema as never)].map(([name, { table }]) => [name, Object.keys(getTableColumns(table))]));
    expect(propertiesOf(postgresSchema)).toEqual(propertiesOf(sqliteSchema));
  });
});

describe("moving a CA", () => {
  test("to Postgres and back loses nothing, keeps the log's root, leaves the source, and the CA goes on", async () => {
    const before = await dump(full);
    const there = await migrate(full, postgres);
    expect(there).toMatchObject({ exitCode: 0 });
    const back = newFile();
    expect((await migrate(postgres, back)).exitCode).toBe(0);
    for (const url of [full, postgres, back]) expect(await dump(url)).toEqual(before);
    expect(Object.values(before).filter((rows) => rows.length > 0).length).toBeGreaterThan(8);
    const store = await openStore({ url: postgres, sealer });
    const { size } = (await store.checkpoint())!;
    expect(there.stdout).toContain(`${size} entries, root `);
    expect(await store.commit(record("goes on"))).toEqual({ logIndex: size });
    await store.close();
  });

  test("a target that is not empty is refused and left as it is", async () => {
    for (const target of [newFile(), postgres]) {
      const store = await openStore({ url: target, sealer });
      await store.commit(record("there before"));
      await store.close();
      const before = await dump(target);
      expect(await migrate(full, target)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("not empty") });
      expect(await dump(target)).toEqual(before);
    }
  });

  test("a source that a CA is using is refused, on either kind of database", async () => {
    const store = await openStore({ url: full, sealer });
    expect(await migrate(full, postgres)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("Stop it first") });
    await store.close();
    await migrate(full, postgres);
    const replica = await openStore({ url: postgres, sealer });
    expect(await migrate(postgres, newFile())).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/Stop\s+every\s+replica/) });
    await replica.close();
  });

  test("a store without a CA is refused, and so is one that is not there", async () => {
    await (await openTableTarget(postgres)).close();
    expect(await migrate(postgres, newFile())).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("no CA") });
    expect(await migrate(`sqlite:${folder}/none.db`, newFile())).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("no database") });
    expect(await migrate("mysql://x", newFile())).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("sqlite:") });
    expect(await countersign(["store", "migrate", "--from", full])).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("--to is missing") });
  });

  test("a store of an older version is refused, and what to do is said, whoever reads it", async () => {
    const older = newFile();
    await migrate(full, older);
    await migrate(full, postgres);
    const database = new Database(older.slice("sqlite:".length));
    database.exec("alter table idempotency_keys rename column expires_at_ms to renamed");
    database.close();
    const client = new pg.Client({ connectionString: postgres });
    await client.connect();
    await client.query("alter table idempotency_keys rename column expires_at_ms to renamed").finally(() => client.end());
    for (const url of [older, postgres]) {
      expect(await migrate(url, newFile())).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/of\s+an\s+older\s+version,\s+start\s+the\s+CA/) });
    }
    expect(await countersign(["audit", "verify", "--store", older])).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/older\s+version/) });
  });

  const faults: readonly (readonly [fault: string, table: string, change: (rows: readonly Row[]) => readonly Row[]])[] = [
    ["a certificate is lost", "certificates", (rows) => rows.slice(1)],
    ["an entry is lost", "audit_entries", (rows) => rows.slice(0, -1)],
    ["an entry is altered", "audit_entries", (rows) => rows.map((row, index) => index === 3 ? { ...row, body: "{}" } : row)],
    ["a token's secret is replaced", "tokens", (rows) => rows.map((row) => ({ ...row, secretHash: Buffer.alloc(32) }))],
    ["the newest checkpoint is lost", "audit_checkpoints", (rows) => rows.slice(0, -1)],
  ];
  test.each(faults)("when %s on the way, nothing is moved", async (_fault, table, change) => {
    const target = newFile();
    await expect(copy(target, (name, rows) => name === table ? change(rows) : rows)).rejects.toMatchObject({ code: "log_inconsistent" });
    await isEmpty(target);
  });

  test("when a row that no entry tells of does not arrive, or the newest checkpoint is another than was meant, nothing is moved", async () => {
    const source = await openTableSource(full, { exclusive: true });
    const { note } = (await source.reads.checkpoint())!;
    const notes: string[] = [];
    for await (const rows of source.pages("audit_checkpoints")) notes.push(...rows.map((row) => String(row["note"])));
    for (const [lost, checkpoint, said] of [["leases", note, "1 rows of leases were read and 0 arrived"], [undefined, notes.find((one) => one !== note)!, "another than before"]] as const) {
      const url = newFile();
      const target = await openTableTarget(url);
      const losing = { ...target, insert: async (table: string, rows: readonly Row[]) => table === lost ? undefined : target.insert(table, rows) };
      await expect(copyTables({ pages: everyPage(source), target: losing, checkpoint })).rejects.toMatchObject({ code: "log_inconsistent", message: expect.stringContaining(said) });
      await target.close();
      await isEmpty(url);
    }
    await source.close();
  });

  test("when the source breaks in the middle, nothing is moved, on either kind of database", async () => {
    for (const target of [newFile(), postgres]) {
      const broken = (name: string, rows: readonly Row[]) => {
        if (name === "tokens") throw new Error("broken");
        return rows;
      };
      await expect(copy(target, broken)).rejects.toThrow("broken");
      await isEmpty(target);
    }
  });

  test("what is read from a store in use is one instant of it", async () => {
    await migrate(full, postgres);
    for (const url of [full, postgres]) {
      const store = await openStore({ url, sealer });
      const source = await openTableSource(url, { exclusive: false });
      const { note } = (await source.reads.checkpoint())!;
      await store.commit(record("meanwhile"));
      const copied = newFile();
      const target = await openTableTarget(copied);
      expect(await copyTables({ pages: everyPage(source), target, checkpoint: note })).toMatchObject({ checkpoint: note });
      await target.close();
      await source.close();
      await store.close();
    }
  });
});

function migrate(from: string, to: string) {
  return countersign(["store", "migrate", "--from", from, "--to", to]);
}

/** Copies the full store, with what `change` makes of each page. */
async function copy(to: string, change: (table: string, rows: readonly Row[]) => readonly Row[]): Promise<void> {
  const source = await openTableSource(full, { exclusive: true });
  const target = await openTableTarget(to);
  async function* changed(): AsyncGenerator<TablePage> {
    for await (const page of everyPage(source)) yield { ...page, rows: change(page.table, page.rows) };
  }
  try {
    await copyTables({ pages: changed(), target, checkpoint: (await source.reads.checkpoint())!.note });
  } finally {
    await target.close();
    await source.close();
  }
}

async function isEmpty(url: string): Promise<void> {
  const store = await openStore({ url, sealer });
  expect(await verifyStore(store, verifierKey)).toEqual([]);
  await store.close();
}

/** Every row of every table, as text, in one order. */
async function dump(url: string): Promise<Record<string, readonly string[]>> {
  const source = await openTableSource(url, { exclusive: false });
  const tables: Record<string, string[]> = {};
  for (const table of source.tables) {
    const rows = (tables[table] = [] as string[]);
    for await (const page of source.pages(table)) rows.push(...page.map((row) => JSON.stringify(row)));
    rows.sort();
  }
  await source.close();
  return tables;
}
