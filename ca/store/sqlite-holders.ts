import { setImmediate } from "node:timers/promises";
import { and, desc, eq, gt, lt, max, sql } from "drizzle-orm";
import type { BetterSQLite3Database } from "drizzle-orm/better-sqlite3";
import type { HolderSource } from "./holders.ts";
import { certificates, revocations } from "./schema-sqlite.ts";

/** What `holdersBehind` reads, on SQLite. */
export function sqliteHolders(db: BetterSQLite3Database): HolderSource {
  const { logIndex, spiffeId, serialNumber, acknowledgedSequence, notAfterMs, authorityId, attestation, renewedFrom } = certificates;
  const newestQuery = db.select({ newest: max(logIndex) }).from(certificates).prepare();
  const behindQuery = db.select({
    logIndex, spiffeId, serialNumber, acknowledgedSequence, notAfterMs, authorityId, attestation,
    // Named with its table: drizzle leaves that out of what is selected from one.
    revoked: sql<number>`exists (select 1 from ${revocations} r where r.serial_number = ${certificates}.serial_number)`,
  }).from(certificates)
    .where(and(
      gt(notAfterMs, sql.placeholder("livesAfterMs")), lt(acknowledgedSequence, sql.placeholder("sequence")),
      // By the index of ends, which has the log index too; the first condition is what it is entered with.
      sql`${notAfterMs} <= ${sql.placeholder("endsBefore")} and (${notAfterMs}, ${logIndex}) < (${sql.placeholder("afterMs")}, ${sql.placeholder("afterIndex")})`,
    ))
    .orderBy(desc(notAfterMs), desc(logIndex)).limit(sql.placeholder("limit")).prepare();
  const spanQuery = db.select({ logIndex, renewedFrom }).from(certificates)
    .where(and(eq(spiffeId, sql.placeholder("spiffeId")), gt(logIndex, sql.placeholder("above")), lt(logIndex, sql.placeholder("below"))))
    .orderBy(desc(logIndex)).limit(maxSpanRows).prepare();

  return {
    async newestLogIndex() {
      return newestQuery.get()?.newest ?? -1;
    },
    async behind({ sequence, livesAfterMs, after, limit }) {
      const { notAfterMs: afterMs, logIndex: afterIndex } = after ?? { notAfterMs: Number.MAX_SAFE_INTEGER, logIndex: 0 };
      const rows = behindQuery.all({ sequence, livesAfterMs, endsBefore: afterMs, afterMs, afterIndex, limit });
      return rows.map((row) => ({ ...row, revoked: row.revoked !== 0 }));
    },
    async renewedFrom(spans) {
      const found: { spiffeId: string; renewedFrom: string }[] = [];
      let looked = 0;
      for (const { spiffeId: id, above, ...span } of spans) {
        for (let { below } = span; ;) {
          const rows = spanQuery.all({ spiffeId: id, above, below });
          for (const row of rows) if (row.renewedFrom !== null) found.push({ spiffeId: id, renewedFrom: row.renewedFrom });
          looked += rows.length;
          if (looked >= maxSpanRows) {
            looked = 0;
            await setImmediate();
          }
          if (rows.length < maxSpanRows) break;
          below = rows.at(-1)!.logIndex;
        }
      }
      return found;
    },
  };
}

/** Some milliseconds. */
const maxSpanRows = 1_024;
