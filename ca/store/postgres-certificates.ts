import { and, desc, eq, getTableColumns, gte, isNull, lt, max, min, or, sql, type SQL } from "drizzle-orm";
import type { NodePgDatabase } from "drizzle-orm/node-postgres";
import type { PgColumn } from "drizzle-orm/pg-core";
import type { CertificateListing } from "./certificate-pages.ts";
import { toCertificate } from "./row-columns.ts";
import { certificates, revocations } from "./schema-postgres.ts";
import type { CertificateQuery } from "./rows/certificates.ts";

/** How Postgres lists certificates. Within a step its statistics decide. */
export function postgresCertificates(db: NodePgDatabase): CertificateListing {
  const { logIndex, notAfterMs, spiffeId: id } = certificates;
  const columns = { certificate: getTableColumns(certificates), revocation: getTableColumns(revocations) };
  const sameSerial = eq(revocations.serialNumber, certificates.serialNumber);
  // Its limit keeps Postgres from reading all revocations for the few rows of a page, which it thinks cheaper than to look each up.
  const itsRevocation = db.select().from(revocations).where(sameSerial).limit(1).as("its_revocation");

  function filters({ spiffeId, within, status, expiresBeforeMs, issuersOnly = false, nowMs }: CertificateQuery): SQL | undefined {
    return and(
      spiffeId === undefined ? undefined : under(id, spiffeId),
      within === undefined ? undefined : underAny(id, within),
      expiresBeforeMs === undefined ? undefined : lt(notAfterMs, expiresBeforeMs),
      // A literal, so that the partial index on them is used.
      issuersOnly ? sql`${certificates.attestation} = 'issuer'` : undefined,
      status === "valid" ? and(gte(notAfterMs, nowMs), isNull(revocations.serialNumber)) : undefined,
      status === "expired" ? and(lt(notAfterMs, nowMs), isNull(revocations.serialNumber)) : undefined,
    );
  }

  async function select({ status }: Pick<CertificateQuery, "status">, condition: SQL | undefined, order: SQL, limit: number) {
    if (status === "revoked") {
      const rows = await db.select(columns).from(revocations).innerJoin(certificates, sameSerial).where(condition).orderBy(order).limit(limit);
      return rows.map(({ certificate, revocation }) => toCertificate(certificate, revocation));
    }
    if (status === undefined) {
      const rows = await db.select({ certificate: columns.certificate, revocation: { sequence: itsRevocation.sequence, reason: itsRevocation.reason, revokedAtMs: itsRevocation.revokedAtMs } })
        .from(certificates).leftJoinLateral(itsRevocation, sql`true`).where(condition).orderBy(order).limit(limit);
      return rows.map(({ certificate, revocation }) => toCertificate(certificate, revocation));
    }
    const rows = await db.select(columns).from(certificates).leftJoin(revocations, sameSerial).where(condition).orderBy(order).limit(limit);
    return rows.map(({ certificate, revocation }) => toCertificate(certificate, revocation));
  }

  const positionOf = ({ status }: CertificateQuery): PgColumn => status === "revoked" ? revocations.sequence : logIndex;

  return {
    async bounds(query) {
      const position = positionOf(query);
      const [row] = await db.select({ oldest: min(position), newest: max(position) }).from(position.table);
      return row === undefined || row.oldest === null ? undefined : { oldest: Number(row.oldest), newest: Number(row.newest) };
    },
    async below({ status }, before, rows) {
      // A log index is a row's at most.
      if (status !== "revoked") return before - rows;
      const { sequence } = revocations;
      const [row] = await db.select({ sequence }).from(revocations).where(lt(sequence, before)).orderBy(desc(sequence)).limit(1).offset(rows - 1);
      return row?.sequence;
    },
    range(query, { from, before }, limit) {
      const position = positionOf(query);
      return select(query, and(gte(position, from), lt(position, before), filters(query)), desc(position), limit);
    },
    async count({ spiffeId, within = [], status, expiresBeforeMs, nowMs }, index, most) {
      const condition = index === "names"
        ? underAny(id, spiffeId === undefined ? within : [spiffeId])
        : and(status === "valid" ? gte(notAfterMs, nowMs) : undefined, expiresBeforeMs === undefined ? undefined : lt(notAfterMs, expiresBeforeMs));
      const found = db.select({ logIndex }).from(certificates).where(condition).limit(most).as("found");
      const [row] = await db.select({ count: sql<string>`count(*)` }).from(found);
      return Number(row?.count);
    },
    async sorted(query, _index, before, limit) {
      const position = positionOf(query);
      // The sum keeps it from walking through all rows in the order of their positions, which it tends to think shorter than it is.
      return select(query, and(lt(position, before), filters(query)), desc(sql`${position} + 0`), limit);
    },
  };
}

/** Whether a column's ID is the pattern's, or below it. */
function under(column: PgColumn, pattern: string): SQL {
  if (!pattern.endsWith("/*")) return eq(column, pattern);
  const prefix = pattern.slice(0, -1);
  // These operators compare bytes, as the index does; "0" is the character after "/".
  return sql`(${column} ~>=~ ${prefix} and ${column} ~<~ ${`${prefix.slice(0, -1)}0`})`;
}

/** Of no pattern nothing: drizzle's `or` of nothing would be no condition at all. */
export function underAny(column: PgColumn, patterns: readonly string[]): SQL {
  return or(...patterns.map((pattern) => under(column, pattern))) ?? sql`false`;
}
