import { and, asc, desc, eq, getTableColumns, gt, gte, isNull, lt, max, or, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import type pg from "pg";
import { pageOfCertificates } from "./certificate-pages.ts";
import { postgresCertificates, underAny } from "./postgres-certificates.ts";
import { postgresFeed } from "./postgres-feed.ts";
import { postgresReports } from "./postgres-reports.ts";
import type { StoreReads } from "./reads.ts";
import { toAuthority, toBuffer, toCaState, toCeremony, toCertificate, toCrl, toDocument, toIdempotent, toToken } from "./row-columns.ts";
import * as schema from "./schema-postgres.ts";
import { postgresVitals } from "./vitals.ts";

/** Makes the reads of a store on Postgres. */
export function postgresReads(pool: pg.Pool | pg.Client): StoreReads {
  const db = drizzle(pool);
  const { auditCheckpoints, auditEntries, auditSubtrees, authorities, caState, ceremonies, certificates, crls, documents, idempotencyKeys, revocations, tokens } = schema;

  const stateQuery = db.select().from(caState).prepare("read-state");
  const certificateQuery = db.select({ certificate: getTableColumns(certificates), revocation: getTableColumns(revocations) }).from(certificates)
    .leftJoin(revocations, eq(revocations.serialNumber, certificates.serialNumber)).where(eq(certificates.serialNumber, sql.placeholder("serialNumber"))).prepare("read-certificate");
  const tokenQuery = db.select().from(tokens).where(eq(tokens.id, sql.placeholder("id"))).prepare("read-token");
  const idempotentQuery = db.select().from(idempotencyKeys)
    .where(and(eq(idempotencyKeys.scope, sql.placeholder("scope")), eq(idempotencyKeys.key, sql.placeholder("key")))).prepare("read-idempotent");
  const sequenceQuery = db.select({ sequence: max(revocations.sequence) }).from(revocations).prepare("read-sequence");
  const crlQuery = db.select().from(crls)
    .where(and(eq(crls.authorityId, sql.placeholder("authorityId")), eq(crls.list, sql.placeholder("list")))).prepare("read-crl");
  const checkpointQuery = db.select().from(auditCheckpoints).orderBy(desc(auditCheckpoints.size)).limit(1).prepare("read-checkpoint");
  const listing = postgresCertificates(db);

  return {
    ...postgresFeed(db),
    ...postgresReports(db),
    ...postgresVitals(pool),
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
    async certificateOfKey(keyFingerprint) {
      const columns = { certificate: getTableColumns(certificates), revocation: getTableColumns(revocations) };
      const [row] = await db.select(columns).from(certificates).leftJoin(revocations, eq(revocations.serialNumber, certificates.serialNumber))
        .where(eq(certificates.keyFingerprint, toBuffer(keyFingerprint)));
      return row && toCertificate(row.certificate, row.revocation);
    },
    async acmeRecord(id, nowMs) {
      const [row] = await db.select().from(schema.acmeRecords).where(and(eq(schema.acmeRecords.id, id), gte(schema.acmeRecords.untilMs, nowMs)));
      return row;
    },
    certificates: (query) => pageOfCertificates(listing, query),
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
      return db.select().from(auditEntries).where(gte(auditEntries.index, start)).orderBy(asc(auditEntries.index)).limit(limit);
    },
    async subtreeHashes({ level, start, limit }) {
      const rows = await db.select().from(auditSubtrees).where(and(eq(auditSubtrees.level, level), gte(auditSubtrees.index, start)))
        .orderBy(asc(auditSubtrees.index)).limit(limit);
      return rows.map(({ hash }) => hash);
    },
  };
}
