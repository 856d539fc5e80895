import type Database from "better-sqlite3";
import { and, asc, desc, eq, gt, gte, isNull, lt, max, or, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { pageOfCertificates } from "./certificate-pages.ts";
import { describe, type StoreReads } from "./reads.ts";
import { sqliteReports } from "./sqlite-reports.ts";
import { toAuthority, toBuffer, toCaState, toCeremony, toCertificate, toCrl, toDocument, toIdempotent, toToken } from "./row-columns.ts";
import * as schema from "./schema-sqlite.ts";
import { sqliteCertificates, underAny } from "./sqlite-certificates.ts";
import { sqliteFeed } from "./sqlite-feed.ts";
import { StoreError } from "./errors.ts";
import { sqliteVitals } from "./vitals.ts";

/**
 * Reads through a connection, which is closed where its tables are not those of this version.
 * @throws {StoreError} store_unavailable
 */
export function openSqliteReads(database: Database.Database, path: string): StoreReads {
  try {
    return sqliteReads(database);
  } catch (cause) {
    database.close();
    throw unreadable(path, cause);
  }
}

/** What is thrown when a query fails that this version's tables answer. */
export function unreadable(path: string, cause: unknown): StoreError {
  // In WAL mode even a reader makes a -shm file where there is none. (SQLite documentation, WAL, "Read-Only Databases")
  const hint = /^SQLITE_(?:CANTOPEN|READONLY)/.test((cause as { code?: string }).code ?? "")
    ? "SQLite has to write beside it even to read: copy it, with its -wal file if it has one, to a folder that can be written."
    : "If it is of an older version, start the CA of this version on it once.";
  return new StoreError("store_unavailable", `The database ${path} cannot be read (${describe(cause)}). ${hint}`, { cause });
}

/** @param database  a read-only connection; each query is short, so it never keeps the write-ahead log from shrinking */
function sqliteReads(database: Database.Database): StoreReads {
  const db = drizzle(database);
  const { auditCheckpoints, auditEntries, auditSubtrees, authorities, caState, ceremonies, certificates, crls, documents, idempotencyKeys, revocations, tokens } = schema;

  const stateQuery = db.select().from(caState).prepare();
  // Two queries: the join costs SQLite 18 us for one certificate, these 2 us each (measured, 100 000 certificates).
  const certificateQuery = db.select().from(certificates).where(eq(certificates.serialNumber, sql.placeholder("serialNumber"))).prepare();
  const revocationQuery = db.select().from(revocations).where(eq(revocations.serialNumber, sql.placeholder("serialNumber"))).prepare();
  const tokenQuery = db.select().from(tokens).where(eq(tokens.id, sql.placeholder("id"))).prepare();
  const idempotentQuery = db.select().from(idempotencyKeys)
    .where(and(eq(idempotencyKeys.scope, sql.placeholder("scope")), eq(idempotencyKeys.key, sql.placeholder("key")))).prepare();
  const sequenceQuery = db.select({ sequence: max(revocations.sequence) }).from(revocations).prepare();
  const crlQuery = db.select().from(crls).where(and(eq(crls.authorityId, sql.placeholder("authorityId")), eq(crls.list, sql.placeholder("list")))).prepare();
  const checkpointQuery = db.select().from(auditCheckpoints).orderBy(desc(auditCheckpoints.size)).limit(1).prepare();
  const listing = sqliteCertificates(db);

  return {
    ...sqliteFeed(db),
    ...sqliteReports(db),
    ...sqliteVitals(database),
    async state() {
      const row = stateQuery.get();
      return row && toCaState(row);
    },
    async authorities() {
      return db.select().from(authorities).orderBy(asc(authorities.createdAtMs), asc(authorities.id)).all().map(toAuthority);
    },
    async certificate(serialNumber) {
      const row = certificateQuery.get({ serialNumber });
      return row && toCertificate(row, revocationQuery.get({ serialNumber }) ?? null);
    },
    async certificateOfKey(keyFingerprint) {
      const [row] = db.select().from(certificates).where(eq(certificates.keyFingerprint, toBuffer(keyFingerprint))).all();
      return row && toCertificate(row, revocationQuery.get({ serialNumber: row.serialNumber }) ?? null);
    },
    async acmeRecord(id, nowMs) {
      const [row] = db.select().from(schema.acmeRecords).where(and(eq(schema.acmeRecords.id, id), gte(schema.acmeRecords.untilMs, nowMs))).all();
      return row;
    },
    certificates: (query) => pageOfCertificates(listing, query),
    async certificateEnds({ start, limit }) {
      const { logIndex, issuedAtMs, notAfterMs } = certificates;
      return db.select({ logIndex, issuedAtMs, notAfterMs }).from(certificates).where(gte(logIndex, start)).orderBy(asc(logIndex)).limit(limit).all();
    },
    async idempotent(scope, key) {
      const row = idempotentQuery.get({ scope, key });
      return row && toIdempotent(row);
    },
    async ceremony(id) {
      const [row] = db.select().from(ceremonies).where(eq(ceremonies.id, id)).all();
      return row && toCeremony(row);
    },
    async ceremonies({ limit }) {
      return db.select().from(ceremonies).orderBy(desc(ceremonies.createdAtMs), desc(ceremonies.id)).limit(limit).all().map(toCeremony);
    },
    async token(id) {
      const row = tokenQuery.get({ id });
      return row && toToken(row);
    },
    async tokens({ limit, before, within }) {
      const [last] = before === undefined ? [] : db.select().from(tokens).where(eq(tokens.id, before)).all();
      if (before !== undefined && last === undefined) return [];
      const older = last && or(
        lt(tokens.createdAtMs, last.createdAtMs),
        and(eq(tokens.createdAtMs, last.createdAtMs), lt(tokens.id, last.id)),
      );
      return db.select().from(tokens).where(and(isNull(tokens.deletedAtMs), older, within === undefined ? undefined : underAny(tokens.spiffeId, within)))
        .orderBy(desc(tokens.createdAtMs), desc(tokens.id)).limit(limit).all().map(toToken);
    },
    async revocations({ after, limit }) {
      return db.select().from(revocations).where(gt(revocations.sequence, after)).orderBy(asc(revocations.sequence)).limit(limit).all();
    },
    async revocationSequence() {
      return sequenceQuery.get()?.sequence ?? 0;
    },
    async crl(authorityId, list) {
      const row = crlQuery.get({ authorityId, list });
      return row && toCrl(row);
    },
    async crls() {
      return db.select().from(crls).all().map(toCrl);
    },
    async documents({ after }) {
      return db.select().from(documents).where(gt(documents.sequence, after)).orderBy(asc(documents.sequence), asc(documents.name)).all().map(toDocument);
    },
    async checkpoint() {
      return checkpointQuery.get();
    },
    async checkpoints({ after, limit }) {
      return db.select().from(auditCheckpoints).where(gt(auditCheckpoints.size, after)).orderBy(asc(auditCheckpoints.size)).limit(limit).all();
    },
    async entries({ start, limit }) {
      return db.select().from(auditEntries).where(gte(auditEntries.index, start)).orderBy(asc(auditEntries.index)).limit(limit).all();
    },
    async subtreeHashes({ level, start, limit }) {
      const rows = db.select().from(auditSubtrees).where(and(eq(auditSubtrees.level, level), gte(auditSubtrees.index, start)))
        .orderBy(asc(auditSubtrees.index)).limit(limit).all();
      return rows.map(({ hash }) => hash);
    },
  };
}
