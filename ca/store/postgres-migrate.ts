import { readFileSync } from "node:fs";
import { join } from "node:path";
import { drizzle } from "drizzle-orm/node-postgres";
import { migrate } from "drizzle-orm/node-postgres/migrator";
import pg from "pg";
import { connectionOptions, unreachable } from "./postgres-connection.ts";
import { describe } from "./reads.ts";
import { logHead } from "./schema-postgres.ts";
import { StoreError } from "./errors.ts";

/**
 * Brings the tables up to date; of replicas that start together one does it and the others wait.
 * @throws {StoreError} store_unavailable
 */
export async function migratePostgres(url: string, migrationsFolder: string): Promise<void> {
  // The lock is held by a transaction of another connection: one of a session would not survive a pooler in between.
  const pool = new pg.Pool({ ...connectionOptions(url), lock_timeout: migrationTimeoutMs, statement_timeout: migrationTimeoutMs, idle_in_transaction_session_timeout: migrationTimeoutMs, query_timeout: migrationTimeoutMs, max: 2 });
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  try {
    const holder = await pool.connect().catch((cause) => { throw unreachable(cause); });
    try {
      await holder.query("begin");
      await holder.query("select pg_advisory_xact_lock($1)", [migrationLock]);
      const db = drizzle(pool);
      await migrate(db, { migrationsFolder });
      await db.insert(logHead).values({ id: 1, size: 0, hashes: Buffer.alloc(0) }).onConflictDoNothing();
      await holder.query("commit");
    } finally {
      holder.release();
    }
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    throw new StoreError("store_unavailable", `The database's tables cannot be brought up to date from ${migrationsFolder} (${describe(cause)}). The CA's user needs the right to create tables; a standby cannot be migrated.`, { cause });
  } finally {
    await pool.end();
  }
}

/** What a process says that may not make tables. */
export function tablesMissing(): StoreError {
  return new StoreError("store_unavailable", "The database's tables are not there, or of an older version, and this process may not make them (initialize=off). Run: countersign store initialize");
}

/** Whether the newest migration was applied: one look, where a process starts for a single request. @throws {StoreError} store_unavailable */
export async function isUpToDate(pool: pg.Pool, migrationsFolder: string): Promise<boolean> {
  const { entries } = JSON.parse(readFileSync(join(migrationsFolder, "meta", "_journal.json"), "utf8")) as { readonly entries: readonly { readonly when: number }[] };
  try {
    const { rows: [applied] } = await pool.query<{ newest: string | null }>(
      "select max(created_at) as newest from drizzle.__drizzle_migrations where exists (select from log_head)");
    // As drizzle compares them: what a later version has applied is not missing here.
    return Number(applied?.newest ?? -1) >= (entries.at(-1)?.when ?? Infinity);
  } catch (error) {
    // There is no such table yet.
    if (error instanceof pg.DatabaseError && (error.code === "42P01" || error.code === "3F000")) return false;
    throw unreachable(error);
  }
}

/** Any number that nobody else in the database uses. */
const migrationLock = 0x636f756e;
const migrationTimeoutMs = 60_000;
