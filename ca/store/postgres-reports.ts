import { and, asc, eq, gt, sql } from "drizzle-orm";
import type { NodePgDatabase } from "drizzle-orm/node-postgres";
import { reports } from "./schema-postgres.ts";
import type { Store } from "./store.ts";

/** What proxies told, on Postgres. */
export function postgresReports(db: NodePgDatabase): Pick<Store, "reports"> {
  return {
    async reports({ kind, name, after, nowMs, limit }) {
      return db.select().from(reports).where(and(
        eq(reports.kind, kind), gt(reports.expiresAtMs, nowMs), name === undefined ? undefined : eq(reports.name, name),
        after && sql`(${reports.name}, ${reports.part}) > (${after.name}, ${after.part})`,
      )).orderBy(asc(reports.name), asc(reports.part)).limit(limit);
    },
  };
}
