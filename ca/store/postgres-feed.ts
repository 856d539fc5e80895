import { and, asc, desc, gt, inArray, lt, notInArray, type SQL, sql } from "drizzle-orm";
import type { NodePgDatabase } from "drizzle-orm/node-postgres";
import { livesAfter, withoutFeed, type FeedReads } from "./feed-reads.ts";
import { announcements, caState, certificates, documents, revocations } from "./schema-postgres.ts";

/** What the feed and its acknowledgements read, on Postgres. */
export function postgresFeed(db: NodePgDatabase): FeedReads {
  const positionQuery = db.select({
    feedEpoch: caState.feedEpoch, bundleSequence: caState.bundleSequence,
    revocationSequence: sql<string>`(select coalesce(max(${revocations.sequence}), 0) from ${revocations})`,
    announcementSequence: sql<string>`(select coalesce(max(${announcements.sequence}), 0) from ${announcements})`,
    documentSequence: sql<string>`(select coalesce(max(${documents.sequence}), 0) from ${documents})`,
  }).from(caState).prepare("read-feed-position");
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
  const holdersQuery = holders().prepare("read-holders-behind");

  return {
    async holdersBehind({ sequence, authorityIds, nowMs, limit }) {
      const query = authorityIds === undefined ? holdersQuery : holders(inArray(certificates.authorityId, [...authorityIds])).prepare("");
      return query.execute({ sequence, livesAfter: livesAfter(nowMs), limit });
    },
    async feedPosition() {
      const [row] = await positionQuery.execute();
      return row === undefined ? {  feedEpoch: "", bundleSequence: 0, revocationSequence: 0, announcementSequence: 0, documentSequence: 0 } : {
        ...row, revocationSequence: Number(row.revocationSequence), announcementSequence: Number(row.announcementSequence),
        documentSequence: Number(row.documentSequence),
      };
    },
    async announcements({ after, nowMs, limit }) {
      return db.select().from(announcements).where(and(gt(announcements.sequence, after), gt(announcements.expiresAtMs, nowMs)))
        .orderBy(asc(announcements.sequence)).limit(limit);
    },
  };
}
