import pg from "pg";
import type { PgTable } from "drizzle-orm/pg-core";
import { migrationsOf } from "./migrations.ts";
import { connectionOptions, unreachable } from "./postgres-connection.ts";
import { writableFirst } from "./postgres-hosts.ts";
import { migratePostgres } from "./postgres-migrate.ts";
import { postgresReads } from "./postgres-reads.ts";
import { insertion } from "./postgres-statement.ts";
import { describe } from "./reads.ts";
import * as schema from "./schema-postgres.ts";
import { notEmpty } from "./sqlite-tables.ts";
import { StoreError } from "./errors.ts";
import { tablesOf } from "./table-columns.ts";
import { pageRows, type TableSource, type TableTarget } from "./table-copy.ts";

/**
 * The tables of a Postgres store, as one transaction sees them.
 * @param exclusive  refuses a store that a CA is connected to, and keeps any other from writing until `close`; without it this is a
 *   snapshot of one in use
 * @throws {StoreError} store_unavailable
 */
export async function openPostgresSource(url: string, { exclusive }: { readonly exclusive: boolean }): Promise<TableSource> {
  const client = await connect(url);
  const close = () => client.end().catch(() => undefined);
  try {
    await client.query("begin isolation level repeatable read");
    if (exclusive) {
      await client.query("lock table log_head in exclusive mode nowait");
      const { rows } = await client.query<{ count: string }>(
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'countersign' and pid <> pg_backend_pid()",
      );
      if (rows[0]?.count !== "0") {
        throw new StoreError("store_unavailable", `A CA is connected to the database (${rows[0]?.count} connections). Stop every replica first: what they wrote from now on would be lost.`);
      }
    }
  } catch (cause) {
    await close();
    throw cause instanceof StoreError ? cause : unreadable(cause);
  }
  return {
    tables: [...tables.keys()],
    async *pages(table) {
      const { select, fromDriver } = tables.get(table)!;
      try {
        await client.query(`declare pages no scroll cursor for select ${select} from "${table}"`);
        for (;;) {
          const { rows } = await client.query<unknown[]>({ text: `fetch ${pageRows} from pages`, rowMode: "array" });
          if (rows.length === 0) break;
          yield rows.map(fromDriver);
        }
        await client.query("close pages");
      } catch (cause) {
        throw cause instanceof StoreError ? cause : unreadable(cause);
      }
    },
    count: (table) => countRows(client, table),
    reads: postgresReads(client),
    close,
  };
}

/**
 * An empty Postgres store to fill.
 * @throws {StoreError} store_unavailable for one that is in use or not empty
 */
export async function openPostgresTarget(
  url: string, migrationsFolder = migrationsOf("postgres"),
): Promise<TableTarget> {
  const [host] = await writableFirst(url);
  await migratePostgres(host, migrationsFolder);
  const client = await connect(host);
  const close = () => client.end().catch(() => undefined);
  try {
    await client.query("begin; set local synchronous_commit to on; lock table log_head in access exclusive mode nowait");
    for (const table of tables.keys()) {
      if (await countRows(client, table) > (table === "log_head" ? 1 : 0)) throw notEmpty("The Postgres database", table);
    }
    await client.query("delete from log_head");
  } catch (cause) {
    await close();
    throw cause instanceof StoreError ? cause : unwritable(cause);
  }
  return {
    tables: [...tables.keys()],
    async insert(table, rows) {
      for (const query of insertions.get(table)!(rows as never)) await client.query(query).catch((cause) => { throw unwritable(cause); });
    },
    count: (table) => countRows(client, table),
    reads: postgresReads(client),
    async commit() {
      await client.query("commit").catch((cause) => { throw unwritable(cause); });
    },
    close,
  };
}

async function connect(url: string): Promise<pg.Client> {
  const [host] = await writableFirst(url);
  const client = new pg.Client({
    ...connectionOptions(host), application_name: "countersign store", statement_timeout: statementTimeoutMs, query_timeout: statementTimeoutMs,
    // What is idle here is the other side, which reads or verifies.
    idle_in_transaction_session_timeout: 0,
  });
  client.on("error", () => undefined);
  await client.connect().catch((cause) => { throw unreachable(cause); });
  return client;
}

async function countRows(client: pg.Client, table: string): Promise<number> {
  const { rows } = await client.query<{ count: string }>(`select count(*) from "${table}"`).catch((cause) => { throw unreadable(cause); });
  return Number(rows[0]?.count);
}

function unreadable(cause: unknown): StoreError {
  return new StoreError("store_unavailable", `The Postgres database cannot be read (${describe(cause)}). If it is of an older version, start the CA of this version on it once; if a CA is busy on it, stop that.`, { cause });
}

function unwritable(cause: unknown): StoreError {
  return new StoreError("store_unavailable", `The Postgres database cannot be filled (${describe(cause)}). Nothing was written.`, { cause });
}

const tables = tablesOf<PgTable>(schema);
const insertions = new Map([...tables].map(([name, { table }]) => [name, insertion(table)]));
/** Counts a table of millions of rows, no more. */
const statementTimeoutMs = 10 * 60_000;
