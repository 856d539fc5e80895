import { and, desc, eq, getTableColumns, gte, inArray, isNotNull, isNull, lt, max, min, or, sql, type SQL, type SQLWrapper } from "drizzle-orm";
import type { BetterSQLite3Database } from "drizzle-orm/better-sqlite3";
import { unionAll } from "drizzle-orm/sqlite-core";
import type { CertificateIndex, CertificateListing } from "./certificate-pages.ts";
import { toCertificate } from "./row-columns.ts";
import { certificates, revocations } from "./schema-sqlite.ts";
import type { CertificateQuery } from "./rows/certificates.ts";

/**
 * How SQLite lists certificates. It has no statistics, so which index it takes is said here: a column with a plus before it is
 * none that an index is looked for. (SQLite documentation, query planner, 6.1)
 */
export function sqliteCertificates(db: BetterSQLite3Database): CertificateListing {
  const { logIndex, notAfterMs, spiffeId: id } = certificates;
  const columns = { certificate: getTableColumns(certificates), revocation: getTableColumns(revocations) };
  const sameSerial = eq(revocations.serialNumber, certificates.serialNumber);

  function filters({ spiffeId, within, status, expiresBeforeMs, nowMs }: CertificateQuery): SQL | undefined {
    const ends = sql`+${notAfterMs}`;
    return and(
      spiffeId === undefined ? undefined : under(sql`+${id}`, spiffeId),
      within === undefined ? undefined : underAny(sql`+${id}`, within),
      expiresBeforeMs === undefined ? undefined : lt(ends, expiresBeforeMs),
      status === "valid" ? and(gte(ends, nowMs), isNull(revocations.serialNumber)) : undefined,
      status === "expired" ? and(lt(ends, nowMs), isNull(revocations.serialNumber)) : undefined,
      status === "revoked" ? isNotNull(revocations.serialNumber) : undefined,
    );
  }

  /** The log indexes that an index leads to, read from it alone. */
  function candidates({ spiffeId, within = [], status, expiresBeforeMs, nowMs }: CertificateQuery, index: CertificateIndex) {
    const where = (condition: SQL | undefined) => db.select({ logIndex }).from(certificates).where(condition);
    if (index === "not-after") {
      return where(and(status === "valid" ? gte(notAfterMs, nowMs) : undefined, expiresBeforeMs === undefined ? undefined : lt(notAfterMs, expiresBeforeMs)));
    }
    // One query for each pattern: of several in one SQLite makes a walk through all rows.
    const [first, second, ...rest] = (spiffeId === undefined ? within : [spiffeId]).map((pattern) => where(under(id, pattern)));
    if (first === undefined) return where(sql`false`);
    return second === undefined ? first : unionAll(first, second, ...rest);
  }

  function select(condition: SQL | undefined, order: readonly SQL[], limit: number) {
    const rows = db.select(columns).from(certificates).leftJoin(revocations, sameSerial).where(condition).orderBy(...order).limit(limit).all();
    return rows.map(({ certificate, revocation }) => toCertificate(certificate, revocation));
  }

  return {
    async bounds({ status }) {
      const position = status === "revoked" ? revocations.sequence : logIndex;
      const table = status === "revoked" ? revocations : certificates;
      // Two queries: for both at once SQLite goes through all rows.
      const oldest = db.select({ position: min(position) }).from(table).get()?.position;
      const newest = db.select({ position: max(position) }).from(table).get()?.position;
      return typeof oldest === "number" && typeof newest === "number" ? { oldest, newest } : undefined;
    },
    async below({ status }, before, rows) {
      // A log index is a row's at most.
      if (status !== "revoked") return before - rows;
      const { sequence } = revocations;
      return db.select({ sequence }).from(revocations).where(lt(sequence, before)).orderBy(desc(sequence)).limit(1).offset(rows - 1).get()?.sequence;
    },
    async range(query, { from, before }, limit) {
      const { status, spiffeId, issuersOnly = false } = query;
      if (status === "revoked") {
        const { sequence } = revocations;
        const rows = db.select(columns).from(revocations).innerJoin(certificates, sameSerial)
          .where(and(gte(sequence, from), lt(sequence, before), filters(query))).orderBy(desc(sequence)).limit(limit).all();
        return rows.map(({ certificate, revocation }) => toCertificate(certificate, revocation));
      }
      const isOneId = spiffeId?.endsWith("/*") === false && status === undefined && query.expiresBeforeMs === undefined;
      return select(and(
        isOneId ? undefined : gte(logIndex, from), lt(logIndex, before), filters(query),
        isOneId ? eq(id, spiffeId) : undefined,
        // A literal, so that the partial index on them is used.
        issuersOnly ? sql`${certificates.attestation} = 'issuer'` : undefined,
      ), [desc(logIndex)], limit);
    },
    async count(query, index, most) {
      const found = candidates(query, index).limit(most).as("found");
      return db.select({ count: sql<number>`count(*)` }).from(found).get()?.count ?? 0;
    },
    async sorted(query, index, before, limit) {
      const order = query.status === "revoked" ? revocations.sequence : logIndex;
      // In two steps: what is sorted are numbers, not certificates.
      const page = db.select({ logIndex }).from(certificates).leftJoin(revocations, sameSerial)
        .where(and(inArray(logIndex, candidates(query, index)), lt(order, before), filters(query))).orderBy(desc(order)).limit(limit);
      return select(inArray(logIndex, page), [desc(order)], limit);
    },
  };
}

/** Whether a column's ID is the pattern's, or below it. */
function under(column: SQLWrapper, pattern: string): SQL | undefined {
  if (!pattern.endsWith("/*")) return sql`${column} = ${pattern}`;
  const prefix = pattern.slice(0, -1);
  // "0" is the character after "/": what lies between the two is what starts with the prefix.
  return sql`(${column} >= ${prefix} and ${column} < ${`${prefix.slice(0, -1)}0`})`;
}

/** Of no pattern nothing: drizzle's `or` of nothing would be no condition at all. */
export function underAny(column: SQLWrapper, patterns: readonly string[]): SQL {
  return or(...patterns.map((pattern) => under(column, pattern))) ?? sql`false`;
}
