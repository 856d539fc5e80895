import { and, asc, desc, gt, inArray, lt, notInArray, type SQL, sql } from "drizzle-orm";
import type { BetterSQLite3Database } from "drizzle-orm/better-sqlite3";
import { livesAfter, withoutFeed, type FeedReads } from "./feed-reads.ts";
import { announcements, caState, certificates, documents, revocations } from "./schema-sqlite.ts";

/** What the feed and its acknowledgements read, on SQLite. */
export function sqliteFeed(db: BetterSQLite3Database): FeedReads {
  const positionQuery = db.select({
    feedEpoch: caState.feedEpoch, bundleSequence: caState.bundleSequence,
    revocationSequence: sql<number>`(select coalesce(max(${revocations.sequence}), 0) from ${revocations})`,
    announcementSequence: sql<number>`(select coalesce(max(${announcements.sequence}), 0) from ${announcements})`,
    documentSequence: sql<number>`(select coalesce(max(${documents.sequence}), 0) from ${documents})`,
  }).from(caState).prepare();
  const { spiffeId, serialNumber, acknowledgedSequence, notAfterMs } = certificates;
  const holders = (more?: SQL) => db.select({ spiffeId, serialNumber, acknowledgedSequence, notAfterMs }).from(certificates)
    .where(and(
      gt(notAfterMs, sql.placeholder("livesAfter")),
      lt(acknowledgedSequence, sql.placeholder("sequence")),
      notInArray(certificates.attestation, [...withoutFeed]),
      sql`not exists (select 1 from ${revocations} r where r.serial_number = ${serialNumber})`,
      // By the index of the ID: one of its own for renewed_from would cost every issuance.
      sql`not exists (select 1 from ${certificates} n
        where n.spiffe_id = ${spiffeId} and n.log_index > ${certificates.logIndex} and n.renewed_from = ${serialNumber})`,
      more,
    ))
    .orderBy(desc(notAfterMs), desc(acknowledgedSequence)).limit(sql.placeholder("limit"));
  const holdersQuery = holders().prepare();

  return {
    async holdersBehind({ sequence, authorityIds, nowMs, limit }) {
      const query = authorityIds === undefined ? holdersQuery : holders(inArray(certificates.authorityId, [...authorityIds])).prepare();
      return query.all({ sequence, livesAfter: livesAfter(nowMs), limit });
    },
    async feedPosition() {
      return positionQuery.get() ?? { feedEpoch: "", bundleSequence: 0, revocationSequence: 0, announcementSequence: 0, documentSequence: 0 };
    },
    async announcements({ after, nowMs, limit }) {
      return db.select().from(announcements).where(and(gt(announcements.sequence, after), gt(announcements.expiresAtMs, nowMs)))
        .orderBy(asc(announcements.sequence)).limit(limit).all();
    },
  };
}
