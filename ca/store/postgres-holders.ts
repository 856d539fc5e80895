import { and, desc, gt, isNotNull, lt, max, sql } from "drizzle-orm";
import type { NodePgDatabase } from "drizzle-orm/node-postgres";
import type { HolderSource } from "./holders.ts";
import { certificates, revocations } from "./schema-postgres.ts";

/** What `holdersBehind` reads, on Postgres. */
export function postgresHolders(db: NodePgDatabase): HolderSource {
  const { logIndex, spiffeId, serialNumber, acknowledgedSequence, notAfterMs, authorityId, attestation, renewedFrom } = certificates;
  const newestQuery = db.select({ newest: max(logIndex) }).from(certificates).prepare("read-newest-log-index");
  const behindQuery = db.select({
    logIndex, spiffeId, serialNumber, acknowledgedSequence, notAfterMs, authorityId, attestation,
    // Named with its table: drizzle leaves that out of what is selected from one.
    revoked: sql<boolean>`exists (select from ${revocations} r where r.serial_number = ${certificates}.serial_number)`,
  }).from(certificates)
    .where(and(
      gt(notAfterMs, sql.placeholder("livesAfterMs")), lt(acknowledgedSequence, sql.placeholder("sequence")),
      sql`${notAfterMs} <= ${sql.placeholder("endsBefore")} and (${notAfterMs}, ${logIndex}) < (${sql.placeholder("afterMs")}, ${sql.placeholder("afterIndex")})`,
    ))
    .orderBy(desc(notAfterMs), desc(logIndex)).limit(sql.placeholder("limit")).prepare("read-holders-behind");

  return {
    async newestLogIndex() {
      const [row] = await newestQuery.execute();
      return Number(row?.newest ?? -1);
    },
    behind({ sequence, livesAfterMs, after, limit }) {
      const { notAfterMs: afterMs, logIndex: afterIndex } = after ?? { notAfterMs: Number.MAX_SAFE_INTEGER, logIndex: 0 };
      return behindQuery.execute({ sequence, livesAfterMs, endsBefore: afterMs, afterMs, afterIndex, limit });
    },
    async renewedFrom(spans) {
      const of = (pick: (span: (typeof spans)[number]) => string | number, type: string) =>
        sql`${sql.param(spans.map(pick))}::${sql.raw(type)}[]`;
      const asked = sql`unnest(${of((span) => span.spiffeId, "text")}, ${of((span) => span.above, "bigint")}, ${of((span) => span.below, "bigint")}) as span (id, above, below)`;
      return db.select({ spiffeId, renewedFrom: sql<string>`${renewedFrom}` }).from(certificates)
        .innerJoin(asked, sql`${spiffeId} = span.id and ${logIndex} > span.above and ${logIndex} < span.below`).where(isNotNull(renewedFrom));
    },
  };
}
