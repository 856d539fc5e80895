import { and, asc, gt, sql } from "drizzle-orm";
import type { BetterSQLite3Database } from "drizzle-orm/better-sqlite3";
import type { FeedReads } from "./feed-reads.ts";
import { listHoldersBehind } from "./holders.ts";
import { sqliteHolders } from "./sqlite-holders.ts";
import { announcements, caState, documents, reports, revocations } from "./schema-sqlite.ts";

/** What the feed and its acknowledgements read, on SQLite. */
export function sqliteFeed(db: BetterSQLite3Database): FeedReads {
  const positionQuery = db.select({
    feedEpoch: caState.feedEpoch, bundleSequence: caState.bundleSequence,
    revocationSequence: sql<number>`(select coalesce(max(${revocations.sequence}), 0) from ${revocations})`,
    announcementSequence: sql<number>`(select coalesce(max(${announcements.sequence}), 0) from ${announcements})`,
    documentSequence: sql<number>`(select coalesce(max(${documents.sequence}), 0) from ${documents})`,
    tapSequence: sql<number>`(select coalesce(max(${reports.reportedAtMs}), 0) from ${reports} where ${reports.kind} = 'tap')`,
  }).from(caState).prepare();
  const holders = sqliteHolders(db);

  return {
    holdersBehind: (query) => listHoldersBehind(holders, query),
    async feedPosition() {
      return positionQuery.get() ?? { feedEpoch: "", bundleSequence: 0, revocationSequence: 0, announcementSequence: 0, documentSequence: 0, tapSequence: 0 };
    },
    async announcements({ after, nowMs, limit }) {
      return db.select().from(announcements).where(and(gt(announcements.sequence, after), gt(announcements.expiresAtMs, nowMs)))
        .orderBy(asc(announcements.sequence)).limit(limit).all();
    },
  };
}
