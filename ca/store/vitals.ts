import { readFileSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import type Database from "better-sqlite3";
import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import type pg from "pg";
import { migrationsOf } from "./migrations.ts";
import type { Store } from "./store.ts";

/** How the database is, on SQLite: its disk is ours. */
export function sqliteVitals(database: Database.Database): Pick<Store, "vitals"> {
  return {
    async vitals() {
      const { applied } = database.prepare("select count(*) as applied from __drizzle_migrations").get() as { readonly applied: number };
      const { bavail, blocks, bsize } = statfsSync(dirname(database.name));
      return {
        kind: "sqlite",
        schema: { applied, known: knownMigrations("sqlite") },
        // The writer's own setting, and no other process's business.
        durable: true,
        disk: { freeBytes: bavail * bsize, totalBytes: blocks * bsize },
      };
    },
  };
}

/** How the database is, on Postgres. Of its standbys a role that is not in pg_monitor learns the number only; of the disk nobody learns anything over SQL. */
export function postgresVitals(pool: pg.Pool | pg.Client): Pick<Store, "vitals"> {
  const db = drizzle(pool);
  return {
    async vitals() {
      const { rows: [row] } = await db.execute<{ applied: string; durable: boolean; size: string }>(sql`
        select (select count(*) from drizzle.__drizzle_migrations) as applied, pg_database_size(current_database()) as size,
          current_setting('fsync') = 'on' and current_setting('full_page_writes') = 'on' as durable`);
      // A base backup that is under way is told of as well, and is none. Who may see no more than that there is one sees no state.
      const { rows: standbys } = await db.execute<{ seen: boolean; seconds: string; bytes: string }>(sql`
        select state is not null as seen, coalesce(extract(epoch from replay_lag), 0) as seconds, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0) as bytes
        from pg_stat_replication where state is null or state in ('streaming', 'catchup') limit ${maxStandbys}`);
      const { rows: missing } = await db.execute<{ slot: string; kept: string }>(sql`
        select slot_name as slot, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0) as kept
        from pg_replication_slots where not active order by slot_name limit ${maxStandbys}`);
      return {
        kind: "postgres",
        schema: { applied: Number(row?.applied), known: knownMigrations("postgres") },
        durable: row?.durable ?? false,
        sizeBytes: Number(row?.size),
        ...(standbys.length + missing.length > 0 && { standbys: {
          count: standbys.length,
          // The time alone would not do: it stands still while nothing is replayed.
          ...(standbys.every(({ seen }) => seen) && { lag: { seconds: Math.max(0, ...standbys.map(({ seconds }) => Number(seconds))), bytes: Math.max(0, ...standbys.map(({ bytes }) => Number(bytes))) } }),
          missing: missing.map(({ slot, kept }) => ({ slot, keptBytes: Number(kept) })),
        } }),
      };
    },
  };
}

function knownMigrations(kind: "sqlite" | "postgres"): number {
  const journal = JSON.parse(readFileSync(join(migrationsOf(kind), "meta", "_journal.json"), "utf8")) as { readonly entries: readonly unknown[] };
  return journal.entries.length;
}

/** More than Postgres lets in by itself (max_wal_senders, max_replication_slots: 10). */
const maxStandbys = 100;
