import { and, asc, desc, eq, getTableColumns, gt, gte, inArray, isNull, lt, max, or, sql, type SQL } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import type { PgColumn } from "drizzle-orm/pg-core";
import type pg from "pg";
import { postgresFeed } from "./postgres-feed.ts";
import { postgresReports } from "./report-reads.ts";
import type { StoreReads } from "./reads.ts";
import { toAuthority, toCaState, toCeremony, toCertificate, toCrl, toDocument, toEntry, toIdempotent, toToken } from "./rows.ts";
import * as schema from "./schema-postgres.ts";
import type { CertificateQuery } from "./store.ts";

export function postgresReads(pool: pg.Pool | pg.Client): StoreReads {
  const db = drizzle(pool);
  const { auditCheckpoints, auditEntries, auditSubtrees, authorities, caState, ceremonies, certificates, crls, documents, idempotencyKeys, revocations, tokens } = schema;
  const certificateColumns = { certificate: getTableColumns(certificates), revocation: getTableColumns(revocations) };
  const selectCertificates = () => db.select(certificateColumns).from(certificates)
    .leftJoin(revocations, eq(revocations.serialNumber, certificates.serialNumber));

  const stateQuery = db.select().from(caState).prepare("read-state");
  const certificateQuery = selectCertificates().where(eq(certificates.serialNumber, sql.placeholder("serialNumber"))).prepare("read-certificate");
  const tokenQuery = db.select().from(tokens).where(eq(tokens.id, sql.placeholder("id"))).prepare("read-token");
  const idempotentQuery = db.select().from(idempotencyKeys)
    .where(and(eq(idempotencyKeys.scope, sql.placeholder("scope")), eq(idempotencyKeys.key, sql.placeholder("key")))).prepare("read-idempotent");
  const sequenceQuery = db.select({ sequence: max(revocations.sequence) }).from(revocations).prepare("read-sequence");
  const crlQuery = db.select().from(crls)
    .where(and(eq(crls.authorityId, sql.placeholder("authorityId")), eq(crls.list, sql.placeholder("list")))).prepare("read-crl");
  const checkpointQuery = db.select().from(auditCheckpoints).orderBy(desc(auditCheckpoints.size)).limit(1).prepare("read-checkpoint");

  function matching({ before, spiffeId, within, status, expiresBeforeMs, issuersOnly = false, nowMs }: CertificateQuery): SQL | undefined {
    const revoked = db.select({ serialNumber: revocations.serialNumber }).from(revocations);
    return and(
      before === undefined ? undefined : lt(certificates.logIndex, before),
      spiffeId === undefined ? undefined : under(certificates.spiffeId, spiffeId),
      within === undefined ? undefined : underAny(certificates.spiffeId, within),
      expiresBeforeMs === undefined ? undefined : lt(certificates.notAfterMs, expiresBeforeMs),
      // A literal, so that the partial index on them is used.
      issuersOnly ? sql`${certificates.attestation} = 'issuer'` : undefined,
      status === "revoked" ? inArray(certificates.serialNumber, revoked) : undefined,
      status === "valid" ? and(gte(certificates.notAfterMs, nowMs), isNull(revocations.serialNumber)) : undefined,
      status === "expired" ? and(lt(certificates.notAfterMs, nowMs), isNull(revocations.serialNumber)) : undefined,
    );
  }

  return {
    ...postgresFeed(db),
    ...postgresReports(db),
    async state() {
      const [row] = await stateQuery.execute();
      return row && toCaState(row);
    },
    async authorities() {
      const rows = await db.select().from(authorities).orderBy(asc(authorities.createdAtMs), asc(authorities.id));
      return rows.map(toAuthority);
    },
    async certificate(serialNumber) {
      const [row] = await certificateQuery.execute({ serialNumber });
      return row && toCertificate(row.certificate, row.revocation);
    },
    async certificates(query) {
      const rows = await selectCertificates().where(matching(query)).orderBy(desc(certificates.logIndex)).limit(query.limit);
      return rows.map(({ certificate, revocation }) => toCertificate(certificate, revocation));
    },
    async certificateEnds({ start, limit }) {
      const { logIndex, issuedAtMs, notAfterMs } = certificates;
      return db.select({ logIndex, issuedAtMs, notAfterMs }).from(certificates).where(gte(logIndex, start)).orderBy(asc(logIndex)).limit(limit);
    },
    async idempotent(scope, key) {
      const [row] = await idempotentQuery.execute({ scope, key });
      return row && toIdempotent(row);
    },
    async ceremony(id) {
      const [row] = await db.select().from(ceremonies).where(eq(ceremonies.id, id));
      return row && toCeremony(row);
    },
    async ceremonies({ limit }) {
      return (await db.select().from(ceremonies).orderBy(desc(ceremonies.createdAtMs), desc(ceremonies.id)).limit(limit)).map(toCeremony);
    },
    async token(id) {
      const [row] = await tokenQuery.execute({ id });
      return row && toToken(row);
    },
    async tokens({ limit, before, within }) {
      const [last] = before === undefined ? [] : await db.select().from(tokens).where(eq(tokens.id, before));
      if (before !== undefined && last === undefined) return [];
      const older = last && or(
        lt(tokens.createdAtMs, last.createdAtMs),
        and(eq(tokens.createdAtMs, last.createdAtMs), lt(tokens.id, last.id)),
      );
      const rows = await db.select().from(tokens).where(and(isNull(tokens.deletedAtMs), older, within === undefined ? undefined : underAny(tokens.spiffeId, within)))
        .orderBy(desc(tokens.createdAtMs), desc(tokens.id)).limit(limit);
      return rows.map(toToken);
    },
    async revocations({ after, limit }) {
      return db.select().from(revocations).where(gt(revocations.sequence, after)).orderBy(asc(revocations.sequence)).limit(limit);
    },
    async revocationSequence() {
      const [row] = await sequenceQuery.execute();
      return row?.sequence ?? 0;
    },
    async crl(authorityId, list) {
      const [row] = await crlQuery.execute({ authorityId, list });
      return row && toCrl(row);
    },
    async crls() {
      return (await db.select().from(crls)).map(toCrl);
    },
    async documents({ after }) {
      return (await db.select().from(documents).where(gt(documents.sequence, after)).orderBy(asc(documents.sequence), asc(documents.name))).map(toDocument);
    },
    async checkpoint() {
      const [row] = await checkpointQuery.execute();
      return row;
    },
    async checkpoints({ after, limit }) {
      return db.select().from(auditCheckpoints).where(gt(auditCheckpoints.size, after)).orderBy(asc(auditCheckpoints.size)).limit(limit);
    },
    async entries({ start, limit }) {
      const rows = await db.select().from(auditEntries).where(gte(auditEntries.index, start)).orderBy(asc(auditEntries.index)).limit(limit);
      return rows.map(toEntry);
    },
    async subtreeHashes({ level, start, limit }) {
      const rows = await db.select().from(auditSubtrees).where(and(eq(auditSubtrees.level, level), gte(auditSubtrees.index, start)))
        .orderBy(asc(auditSubtrees.index)).limit(limit);
      return rows.map(({ hash }) => hash);
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
function underAny(column: PgColumn, patterns: readonly string[]): SQL {
  return or(...patterns.map((pattern) => under(column, pattern))) ?? sql`false`;
}
