import { and, asc, gt, sql } from "drizzle-orm";
import type { NodePgDatabase } from "drizzle-orm/node-postgres";
import type { FeedReads } from "./feed-reads.ts";
import { listHoldersBehind } from "./holders.ts";
import { postgresHolders } from "./postgres-holders.ts";
import { announcements, caState, documents, reports, revocations } from "./schema-postgres.ts";

/** What the feed and its acknowledgements read, on Postgres. */
export function postgresFeed(db: NodePgDatabase): FeedReads {
  const positionQuery = db.select({
    feedEpoch: caState.feedEpoch, bundleSequence: caState.bundleSequence,
    revocationSequence: sql<string>`(select coalesce(max(${revocations.sequence}), 0) from ${revocations})`,
    announcementSequence: sql<string>`(select coalesce(max(${announcements.sequence}), 0) from ${announcements})`,
    documentSequence: sql<string>`(select coalesce(max(${documents.sequence}), 0) from ${documents})`,
    tapSequence: sql<string>`(select coalesce(max(${reports.reportedAtMs}), 0) from ${reports} where ${reports.kind} = 'tap')`,
  }).from(caState).prepare("read-feed-position");
  const holders = postgresHolders(db);

  return {
    holdersBehind: (query) => listHoldersBehind(holders, query),
    async feedPosition() {
      const [row] = await positionQuery.execute();
      return row === undefined ? {  feedEpoch: "", bundleSequence: 0, revocationSequence: 0, announcementSequence: 0, documentSequence: 0, tapSequence: 0 } : {
        ...row, revocationSequence: Number(row.revocationSequence), announcementSequence: Number(row.announcementSequence),
        documentSequence: Number(row.documentSequence), tapSequence: Number(row.tapSequence),
      };
    },
    async announcements({ after, nowMs, limit }) {
      return db.select().from(announcements).where(and(gt(announcements.sequence, after), gt(announcements.expiresAtMs, nowMs)))
        .orderBy(asc(announcements.sequence)).limit(limit);
    },
  };
}
