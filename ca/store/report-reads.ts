import { and, asc, eq, gt, sql } from "drizzle-orm";
import type { BetterSQLite3Database } from "drizzle-orm/better-sqlite3";
import type { NodePgDatabase } from "drizzle-orm/node-postgres";
import * as postgres from "./schema-postgres.ts";
import * as sqlite from "./schema-sqlite.ts";
import type { Store } from "./store.ts";

/** What proxies told, on SQLite. */
export function sqliteReports(db: BetterSQLite3Database): Pick<Store, "reports"> {
  const { reports } = sqlite;
  return {
    async reports({ kind, name, after, nowMs, limit }) {
      return db.select().from(reports).where(and(
        eq(reports.kind, kind), gt(reports.expiresAtMs, nowMs), name === undefined ? undefined : eq(reports.name, name),
        after && sql`(${reports.name}, ${reports.part}) > (${after.name}, ${after.part})`,
      )).orderBy(asc(reports.name), asc(reports.part)).limit(limit).all();
    },
  };
}

/** What proxies told, on Postgres. */
export function postgresReports(db: NodePgDatabase): Pick<Store, "reports"> {
  const { reports } = postgres;
  return {
    async reports({ kind, name, after, nowMs, limit }) {
      return db.select().from(reports).where(and(
        eq(reports.kind, kind), gt(reports.expiresAtMs, nowMs), name === undefined ? undefined : eq(reports.name, name),
        after && sql`(${reports.name}, ${reports.part}) > (${after.name}, ${after.part})`,
      )).orderBy(asc(reports.name), asc(reports.part)).limit(limit);
    },
  };
}

/** Expired reports that each write takes away: more than it brings, so that this always catches up. */
export const maxForgotten = 1024;
