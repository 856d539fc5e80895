import { generateKeyPairSync } from "node:crypto";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { getTableColumns, sql, type SQL, type Table } from "drizzle-orm";
import { drizzle as drizzleSqlite } from "drizzle-orm/better-sqlite3";
import { drizzle as drizzlePostgres } from "drizzle-orm/node-postgres";
import pg from "pg";
import { afterAll, beforeAll } from "vitest";
import { checkpointSigner } from "../../../ca/audit/checkpoint.ts";
import { openStore } from "../../../ca/store/open.ts";
import * as postgresSchema from "../../../ca/store/schema-postgres.ts";
import * as sqliteSchema from "../../../ca/store/schema-sqlite.ts";
import type { Store } from "../../../ca/store/store.ts";
import { logFixture } from "../../support/log-fixture.ts";
import { createDatabase } from "../../support/postgres.ts";
import { describeTampering, type TamperableStore, type TamperableTable } from "./tampering.ts";

const origin = "countersign.dev/east/log";
const privateKeyPkcs8 = generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" });
const { verifierKey, sign } = checkpointSigner({ origin, privateKeyPkcs8 });
const folder = mkdtempSync(join(tmpdir(), "countersign-tampering-"));
const sqliteFile = join(folder, "written.db");
let postgres: Store;
let attacker: pg.Client;
let copies = 0;

/** The tables that a test may change, as the log was written. */
const tableNames = ["ca_state", "audit_entries", "audit_checkpoints", "audit_subtrees", "certificates", "revocations", "tokens", "authorities", "documents", "crls", "ceremonies", "announcements"];

async function writeLog(url: string): Promise<void> {
  const store = await openStore({ url, sealer: { origin, privateKeyPkcs8 } });
  for (const acts of logFixture(verifierKey)) await Promise.all(acts.map((act) => store.commit(act)));
  await store.close();
}

beforeAll(async () => {
  await writeLog(`sqlite:${sqliteFile}`);
  const postgresUrl = await createDatabase();
  await writeLog(postgresUrl);
  postgres = await openStore({ url: postgresUrl, readOnly: true });
  attacker = new pg.Client({ connectionString: postgresUrl });
  await attacker.connect();
  await attacker.query(`create schema written; ${tableNames.map((name) => `create table written.${name} as table ${name};`).join("")}`);
});
afterAll(async () => {
  await postgres.close();
  await attacker.end();
  rmSync(folder, { recursive: true });
});

describeTampering("SQLite", async () => {
  const path = join(folder, `copy-${++copies}.db`);
  copyFileSync(sqliteFile, path);
  const store = await openStore({ url: `sqlite:${path}`, readOnly: true });
  const database = new Database(path);
  const db = drizzleSqlite(database);
  return {
    store, verifierKey, sign,
    ...tamperBySql(sqliteSchema, async (statement) => db.run(statement).changes),
    async close() {
      await store.close();
      database.close();
    },
  };
});

describeTampering("Postgres", async () => {
  await attacker.query(tableNames.map((name) => `delete from ${name}; insert into ${name} select * from written.${name};`).join(""));
  const db = drizzlePostgres(attacker);
  return {
    store: postgres, verifierKey, sign,
    ...tamperBySql(postgresSchema, async (statement) => (await db.execute(statement)).rowCount ?? 0),
    async close() {},
  };
});

/** @param execute  answers how many rows the statement changed */
function tamperBySql(
  schema: typeof sqliteSchema | typeof postgresSchema, execute: (statement: SQL) => Promise<number>,
): Pick<TamperableStore, "update" | "insert" | "remove" | "moveEntries"> {
  const tables: Readonly<Record<TamperableTable, readonly [table: Table, key: string]>> = {
    entries: [schema.auditEntries, "index"],
    checkpoints: [schema.auditCheckpoints, "size"],
    certificates: [schema.certificates, "serialNumber"],
    revocations: [schema.revocations, "serialNumber"],
    tokens: [schema.tokens, "id"],
    authorities: [schema.authorities, "id"],
    documents: [schema.documents, "name"],
    crls: [schema.crls, "list"],
    ceremonies: [schema.ceremonies, "id"],
    announcements: [schema.announcements, "sequence"],
    state: [schema.caState, "id"],
    subtrees: [schema.auditSubtrees, "index"],
  };
  const columnOf = (table: Table, property: string) => sql.identifier(getTableColumns(table)[property]!.name);
  /** Lists are JSON in both schemas. */
  const valueOf = (value: unknown) => sql`${Array.isArray(value) ? JSON.stringify(value) : value}`;
  return {
    async update(name, key, changes) {
      const [table, keyProperty] = tables[name];
      const settings = Object.entries(changes).map(([property, value]) => sql`${columnOf(table, property)} = ${valueOf(value)}`);
      const count = await execute(sql`update ${table} set ${sql.join(settings, sql`, `)} where ${columnOf(table, keyProperty)} = ${key}`);
      if (count !== 1) throw new Error(`${count} rows of ${name} have the key ${key}`);
    },
    async insert(name, row) {
      const [table] = tables[name];
      const members = Object.entries(row).filter(([, value]) => value !== undefined);
      const columns = members.map(([property]) => columnOf(table, property));
      await execute(sql`insert into ${table} (${sql.join(columns, sql`, `)}) values (${sql.join(members.map(([, value]) => valueOf(value)), sql`, `)})`);
    },
    async remove(name, first, last = first) {
      const [table, keyProperty] = tables[name];
      await execute(sql`delete from ${table} where ${columnOf(table, keyProperty)} between ${first} and ${last}`);
    },
    async moveEntries(first, last, by) {
      const table = schema.auditEntries;
      // By way of negative indexes: no index is ever taken twice.
      await execute(sql`update ${table} set idx = -1 - (idx + ${by}) where idx between ${first} and ${last}`);
      await execute(sql`update ${table} set idx = -1 - idx where idx < 0`);
    },
  };
}
