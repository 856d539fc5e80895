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

/** How the database is, on Postgres. Of its standbys a role that is not in pg_monitor learns the number only. */
export function postgresVitals(pool: pg.Pool | pg.Client): Pick<Store, "vitals"> {
  const db = drizzle(pool);
  return {
    async vitals() {
      const { rows: [row] } = await db.execute<{ applied: string; durable: boolean; standbys: string; lag: string }>(sql`
        select (select count(*) from drizzle.__drizzle_migrations) as applied,
          current_setting('fsync') = 'on' and current_setting('full_page_writes') = 'on' as durable,
          (select count(*) from pg_stat_replication) as standbys,
          (select coalesce(max(extract(epoch from replay_lag)), 0) from pg_stat_replication) as lag`);
      const [applied = 0, count = 0, lagSeconds = 0] = [row?.applied, row?.standbys, row?.lag].map(Number);
      return {
        kind: "postgres",
        schema: { applied, known: knownMigrations("postgres") },
        durable: row?.durable ?? false,
        ...(count > 0 && { standbys: { count, lagSeconds } }),
      };
    },
  };
}

function knownMigrations(kind: "sqlite" | "postgres"): number {
  const journal = JSON.parse(readFileSync(join(migrationsOf(kind), "meta", "_journal.json"), "utf8")) as { readonly entries: readonly unknown[] };
  return journal.entries.length;
}
