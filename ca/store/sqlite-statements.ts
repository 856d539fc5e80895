import type Database from "better-sqlite3";
import { maxLaterCertificates, type Facts } from "./facts.ts";
import type { Writes } from "./plan.ts";
import type { HeadRow, SealedHead } from "./head.ts";
import { type AuthorityFactRow, fromAuthority, fromCeremony, fromCertificate, fromCrl, fromDocument, fromToken, type LaterRow, toAuthorityFact, toBuffer, toLaterFact } from "./row-columns.ts";
import type { Insertion, SqliteSql } from "./sqlite-sql.ts";
import type { AcmeRecord } from "./rows/acme-records.ts";
import type { Acknowledgement } from "./rows/holders.ts";
import type { LeaseAnswer, LeaseClaim } from "./rows/leases.ts";
import type { CheckpointRow } from "./rows/log.ts";
import type { ReportKey, ReportRow } from "./rows/reports.ts";
import type { SpentRequest } from "./rows/spent-requests.ts";

/** What the writer does to the database inside its transaction. */
export interface SqliteStatements {
  readHead(): HeadRow | undefined;
  newestCheckpoint(): CheckpointRow | undefined;
  readonly facts: Facts;
  /** All that a group writes, in an order that lets later acts of a group build on earlier ones. */
  write(writes: Writes, sealed: SealedHead): void;
  touchToken(id: string, usedAtMs: number): void;
  acquireLease(claim: LeaseClaim, nowMs: number): LeaseAnswer;
  releaseLease(lease: Pick<LeaseClaim, "name" | "holder">): void;
  acknowledge(acknowledgement: Acknowledgement): void;
  spendRequest(request: SpentRequest, nowMs: number): boolean;
  putAcmeRecord(record: AcmeRecord, nowMs: number): boolean;
  report(rows: readonly ReportRow[], dropped: readonly ReportKey[]): void;
  swapReport(row: ReportRow, expected: string | undefined): boolean;
}

/** Prepares the statements once for a connection. */
export function sqliteStatements(database: Database.Database, sql: SqliteSql): SqliteStatements {
  const head = database.prepare<[], HeadRow>(sql.head);
  const newestCheckpoint = database.prepare<[], CheckpointRow>(sql.newestCheckpoint);
  const certificate = database.prepare<[string], { not_after_ms: number; authority_id: string }>(sql.certificate);
  const issuedAfter = database.prepare<[string, string, number], LaterRow>(sql.issuedAfter);
  const revoked = database.prepare<[string]>(sql.revoked);
  const keyUsed = database.prepare<[Buffer]>(sql.keyUsed);
  const token = database.prepare<[string], { version: number; deleted_at_ms: number | null }>(sql.token);
  const keyExpiry = database.prepare<[string, string], number>(sql.keyExpiry).pluck();
  const documentSequence = database.prepare<[], number | null>(sql.documentSequence).pluck();
  const ceremonyOpen = database.prepare<[string]>(sql.ceremonyOpen);
  const closeCeremony = database.prepare<[number, string]>(sql.closeCeremony);
  const insertCeremony = inserter(database, sql.insertCeremony);
  const leaseToken = database.prepare<[string], number>(sql.leaseToken).pluck();
  const crlNumber = database.prepare<[string, string], number>(sql.crlNumber).pluck();
  const sealedLogKey = database.prepare<[], Buffer>(sql.sealedLogKey).pluck();
  const bundleSequence = database.prepare<[], number>(sql.bundleSequence).pluck();
  const authorities = database.prepare<[], AuthorityFactRow>(sql.authorities);
  const authority = database.prepare<[string], AuthorityFactRow>(sql.authority);

  const setAuthorityState = database.prepare<[string, number | null, number, string]>(sql.setAuthorityState);
  const setLastNotAfter = database.prepare<[number, string]>(sql.setLastNotAfter);
  const setSealing = database.prepare<[Buffer, string]>(sql.setSealing);
  const setSealedKey = database.prepare<[Buffer, string]>(sql.setSealedKey);
  const setBundleSequence = database.prepare<[number]>(sql.setBundleSequence);
  const redeem = database.prepare<[number, number, string]>(sql.redeem);
  const deleteToken = database.prepare<[number, string]>(sql.deleteToken);
  const touchToken = database.prepare<[number, string]>(sql.touchToken);
  const acquireLease = database.prepare<[string, string, number, number, number], number>(sql.acquireLease).pluck();
  const leaseHolder = database.prepare<[string], string>(sql.leaseHolder).pluck();
  const releaseLease = database.prepare<[string, string]>(sql.releaseLease);
  const acknowledge = database.prepare<[number, number, string]>(sql.acknowledge);
  const forgetSpent = database.prepare<[number]>(sql.forgetSpent);
  const forgetAcme = database.prepare<[number]>(sql.forgetAcme);
  const insertAcme = database.prepare<[string, string, number]>(sql.insertAcme);
  const updateAcme = database.prepare<[string, number, string, number]>(sql.updateAcme);
  const claimReport = database.prepare<[string, string, string, string, number, number]>(sql.claimReport);
  const replaceReport = database.prepare<[string, number, number, string, string, string, string]>(sql.replaceReport);
  const spend = database.prepare<[string, string, number]>(sql.spend);
  const pruneCertificates = database.prepare<[number, number, number]>(sql.pruneCertificates);
  const pruneCheckpoints = database.prepare<[number, number]>(sql.pruneCheckpoints);
  const setHead = database.prepare<[number, Buffer]>(sql.setHead);
  const forgetKeys = database.prepare<[number]>(sql.forgetKeys);

  const insertState = inserter(database, sql.insertState);
  const insertAuthority = inserter(database, sql.insertAuthority);
  const insertCertificate = inserter(database, sql.insertCertificate);
  const insertRevocation = inserter(database, sql.insertRevocation);
  const insertToken = inserter(database, sql.insertToken);
  const insertIdempotencyKey = inserter(database, sql.insertIdempotencyKey);
  const insertCrl = inserter(database, sql.insertCrl);
  const insertDocument = inserter(database, sql.insertDocument);
  const insertAnnouncement = inserter(database, sql.insertAnnouncement);
  const putReport = inserter(database, sql.putReport);
  const dropReport = database.prepare<[string, string, string]>(sql.dropReport);
  const forgetReports = database.prepare<[number]>(sql.forgetReports);
  const insertEntry = inserter(database, sql.insertEntry);
  const insertSubtree = inserter(database, sql.insertSubtree);
  const insertCheckpoint = inserter(database, sql.insertCheckpoint);

  return {
    readHead: () => head.get(),
    newestCheckpoint: () => newestCheckpoint.get(),
    facts: {
      get initialized() {
        return bundleSequence.get() !== undefined;
      },
      certificate(serialNumber) {
        const row = certificate.get(serialNumber);
        return row && { notAfterMs: row.not_after_ms, authorityId: row.authority_id, revoked: revoked.get(serialNumber) !== undefined };
      },
      issuedAfter: (serialNumber, spiffeId) => issuedAfter.all(spiffeId, serialNumber, maxLaterCertificates).map(toLaterFact),
      keyUsed: (keyFingerprint) => keyUsed.get(toBuffer(keyFingerprint)) !== undefined,
      token(id) {
        const row = token.get(id);
        return row && { version: row.version, deleted: row.deleted_at_ms !== null };
      },
      idempotencyKeyExpiry: (scope, key) => keyExpiry.get(scope, key),
      documentSequence: () => documentSequence.get() ?? 0,
      ceremonyOpen: (id) => ceremonyOpen.get(id) !== undefined,
      authorities: () => authorities.all().map(toAuthorityFact),
      authority(id) {
        const row = authority.get(id);
        return row && toAuthorityFact(row);
      },
      get bundleSequence() {
        return bundleSequence.get();
      },
      sealedLogKey: () => sealedLogKey.get(),
      leaseToken: (name) => leaseToken.get(name),
      crlNumber: (authorityId, list) => crlNumber.get(authorityId, list),
    },
    write(writes, { head: { size, hashes }, checkpoint }) {
      for (const row of writes.states) insertState({ id: 1, wrappedSealingKey: "", ...row, sealedLogKey: toBuffer(row.sealedLogKey) });
      for (const row of writes.authorities) insertAuthority(fromAuthority(row));
      for (const row of writes.authorityStates) setAuthorityState.run(row.state, row.activateAtMs ?? null, row.atMs, row.id);
      for (const row of writes.lastNotAfters) setLastNotAfter.run(row.lastNotAfterMs, row.id);
      for (const { sealedLogKey, wrappedSealingKey, authorities: keys } of writes.resealings) {
        setSealing.run(toBuffer(sealedLogKey), wrappedSealingKey);
        for (const { id, sealed } of keys) setSealedKey.run(toBuffer(sealed), id);
      }
      if (writes.bundleSequence !== undefined) setBundleSequence.run(writes.bundleSequence);
      for (const row of writes.certificates) insertCertificate(fromCertificate(row));
      for (const row of writes.revocations) insertRevocation(row);
      for (const row of writes.tokens) insertToken(fromToken(row));
      for (const row of writes.redemptions) redeem.run(row.version, row.redeemedAtMs, row.id);
      for (const row of writes.deletions) deleteToken.run(row.deletedAtMs, row.id);
      for (const { from, to, expiredBeforeMs } of writes.prunings) {
        pruneCertificates.run(from, to, expiredBeforeMs);
        pruneCheckpoints.run(from, to);
      }
      if (writes.forgetUntilMs !== undefined) forgetKeys.run(writes.forgetUntilMs);
      for (const row of writes.idempotencyKeys) insertIdempotencyKey(row);
      for (const row of writes.crls) insertCrl(fromCrl(row));
      for (const row of writes.ceremonies) insertCeremony(fromCeremony(row));
      for (const row of writes.ceremonyClosings) closeCeremony.run(row.closedAtMs, row.id);
      for (const row of writes.documents) insertDocument(fromDocument(row));
      for (const row of writes.announcements) insertAnnouncement(row);
      for (const row of writes.entries) insertEntry({ ...row, leafHash: toBuffer(row.leafHash) });
      for (const row of writes.subtrees) insertSubtree({ ...row, hash: toBuffer(row.hash) });
      insertCheckpoint(checkpoint);
      setHead.run(size, toBuffer(hashes));
    },
    touchToken: (id, usedAtMs) => void touchToken.run(usedAtMs, id),
    acquireLease({ name, holder, ttlMs }, nowMs) {
      const token = acquireLease.get(name, holder, nowMs + ttlMs, nowMs, nowMs + ttlMs);
      return token === undefined ? { held: false, holder: leaseHolder.get(name) ?? "" } : { held: true, token };
    },
    releaseLease: ({ name, holder }) => void releaseLease.run(name, holder),
    acknowledge: ({ serialNumber, sequence }) => void acknowledge.run(sequence, sequence, serialNumber),
    spendRequest({ spiffeId, nonce, untilMs }, nowMs) {
      forgetSpent.run(nowMs);
      return spend.run(spiffeId, nonce, untilMs).changes === 1;
    },
    putAcmeRecord({ id, version, body, untilMs }, nowMs) {
      forgetAcme.run(nowMs);
      return (version === 0 ? insertAcme.run(id, body, untilMs) : updateAcme.run(body, untilMs, id, version)).changes === 1;
    },
    swapReport({ kind, name, part, body, reportedAtMs, expiresAtMs }, expected) {
      if (expected === undefined) return claimReport.run(kind, name, part, body, reportedAtMs, expiresAtMs).changes === 1;
      return replaceReport.run(body, reportedAtMs, expiresAtMs, kind, name, part, expected).changes === 1;
    },
    report(rows, dropped) {
      for (const row of rows) putReport(row);
      for (const { kind, name, part } of dropped) dropReport.run(kind, name, part);
      const newest = rows.at(-1);
      if (newest !== undefined) forgetReports.run(newest.reportedAtMs);
    },
  };
}

function inserter<Row>(database: Database.Database, { text, properties }: Insertion<Row>): (row: Row) => void {
  const statement = database.prepare<unknown[]>(text);
  return (row) => statement.run(properties.map((property) => row[property]));
}
