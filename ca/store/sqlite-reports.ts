import { and, asc, eq, gt, sql } from "drizzle-orm";
import type { BetterSQLite3Database } from "drizzle-orm/better-sqlite3";
import { reports } from "./schema-sqlite.ts";
import type { Store } from "./store.ts";

/** What proxies told, on SQLite. */
export function sqliteReports(db: BetterSQLite3Database): Pick<Store, "reports"> {
  return {
    async reports({ kind, name, after, nowMs, limit }) {
      return db.select().from(reports).where(and(
        eq(reports.kind, kind), gt(reports.expiresAtMs, nowMs), name === undefined ? undefined : eq(reports.name, name),
        after && sql`(${reports.name}, ${reports.part}) > (${after.name}, ${after.part})`,
      )).orderBy(asc(reports.name), asc(reports.part)).limit(limit).all();
    },
  };
}
