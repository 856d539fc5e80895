import Database from "better-sqlite3";
import { migrationsOf } from "./migrations.ts";
import { describe } from "./reads.ts";
import * as schema from "./schema-sqlite.ts";
import { prepareSqliteFile, requireReadable } from "./sqlite-file.ts";
import { openSqliteReads, unreadable } from "./sqlite-reads.ts";
import { StoreError } from "./errors.ts";
import { tablesOf } from "./table-columns.ts";
import { pageRows, type Row, type TableSource, type TableTarget } from "./table-copy.ts";

/**
 * The tables of a SQLite store.
 * @param exclusive  refuses a store that any process has open, and lets none open it until `close`; without it this is a
 *   snapshot of one in use
 * @throws {StoreError} store_unavailable
 */
export function openSqliteSource(path: string, { exclusive }: { readonly exclusive: boolean }): TableSource {
  requireReadable(path);
  const database = open(path, "read");
  try {
    if (exclusive) {
      // In WAL mode every connection holds a shared lock on the file for as long as it is open. (SQLite documentation, PRAGMA locking_mode)
      database.pragma("locking_mode = EXCLUSIVE");
      database.exec("begin immediate");
    } else {
      database.pragma("query_only = ON");
      database.exec("begin");
    }
    database.prepare("select count(*) from sqlite_master").get();
  } catch (cause) {
    database.close();
    if ((cause as { code?: string }).code?.startsWith("SQLITE_BUSY") !== true) throw unreadable(path, cause);
    throw new StoreError("store_unavailable", `A CA, or another program, has ${path} open. Stop it first: what it wrote from now on would be lost.`, { cause });
  }
  const reads = openSqliteReads(database, path);
  return {
    tables: [...tables.keys()],
    async *pages(table) {
      const { select, fromDriver } = tables.get(table)!;
      let page: Row[] = [];
      try {
        for (const values of database.prepare(`select ${select} from "${table}"`).raw().iterate()) {
          page.push(fromDriver(values as unknown[]));
          if (page.length < pageRows) continue;
          yield page;
          page = [];
        }
      } catch (cause) {
        throw unreadable(path, cause);
      }
      if (page.length > 0) yield page;
    },
    count: async (table) => countRows(database, table),
    reads,
    async close() {
      database.exec("rollback");
      database.close();
    },
  };
}

/**
 * A new SQLite store to fill.
 * @throws {StoreError} store_unavailable for one that is in use or not empty
 */
export function openSqliteTarget(path: string, migrationsFolder = migrationsOf("sqlite")): TableTarget {
  prepareSqliteFile(path, migrationsFolder);
  const database = open(path, "written");
  database.pragma("synchronous = FULL");
  database.exec("begin immediate");
  const filled = [...tables.keys()].find((table) => countRows(database, table) > (table === "log_head" ? 1 : 0));
  if (filled !== undefined) {
    database.close();
    throw notEmpty(path, filled);
  }
  database.exec("delete from log_head");
  return {
    tables: [...tables.keys()],
    async insert(table, rows) {
      const { select, toDriver } = tables.get(table)!;
      const insert = database.prepare(`insert into "${table}" (${select}) values (${select.replaceAll(/"[^"]*"/g, "?")})`);
      for (const row of rows) insert.run(toDriver(row));
    },
    count: async (table) => countRows(database, table),
    reads: openSqliteReads(database, path),
    async commit() {
      database.exec("commit");
      database.pragma("wal_checkpoint(TRUNCATE)");
    },
    async close() {
      database.close();
    },
  };
}

/** What is thrown when a store that should be filled has something in it. */
export function notEmpty(name: string, table: string): StoreError {
  return new StoreError("store_unavailable", `${name} is not empty: there are rows in ${table}. Nothing is overwritten; name a database that does not hold a CA.`);
}

function open(path: string, how: string): Database.Database {
  try {
    return new Database(path, { fileMustExist: true, timeout: lockTimeoutMs });
  } catch (cause) {
    throw new StoreError("store_unavailable", `The database ${path} cannot be ${how} (${describe(cause)}).`, { cause });
  }
}

function countRows(database: Database.Database, table: string): number {
  return database.prepare<[], number>(`select count(*) from "${table}"`).pluck().get() ?? 0;
}

const tables = tablesOf(schema);
const lockTimeoutMs = 2_000;
