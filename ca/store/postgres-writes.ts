import { sql } from "drizzle-orm";
import { maxAcknowledgedGenerations } from "./acknowledgements.ts";
import { maxForgottenAlong, maxForgottenReports } from "./forgetting.ts";
import type { Writes } from "./plan.ts";
import type { SealedHead } from "./head.ts";
import { bare, insertion, statement, value, type Query } from "./postgres-statement.ts";
import { fromAuthority, fromCeremony, fromCertificate, fromCrl, fromDocument, fromToken, toBuffer } from "./row-columns.ts";
import * as schema from "./schema-postgres.ts";
import type { ReportRow } from "./rows/reports.ts";

/** All that a group writes, in an order that lets later acts of a group build on earlier ones. */
export function writeQueries(writes: Writes, { head, checkpoint }: SealedHead): readonly Query[] {
  const redemptions = lastOfEach(writes.redemptions, ({ id }) => id);
  return [
    ...insertStates(writes.states.map((row) => ({ id: 1, wrappedSealingKey: "", ...row, sealedLogKey: toBuffer(row.sealedLogKey) }))),
    ...insertAuthorities(writes.authorities.map(fromAuthority)),
    ...writes.authorityStates.map(({ id, state, atMs, activateAtMs }) => setAuthorityState(state, atMs, activateAtMs ?? null, id)),
    ...writes.lastNotAfters.map(({ id, lastNotAfterMs }) => setLastNotAfter(lastNotAfterMs, id)),
    ...writes.resealings.flatMap(({ sealedLogKey, wrappedSealingKey, authorities }) => [
      setSealing(toBuffer(sealedLogKey), wrappedSealingKey), ...authorities.map(({ id, sealed }) => setSealedKey(toBuffer(sealed), id)),
    ]),
    ...(writes.bundleSequence === undefined ? [] : [setBundleSequence(writes.bundleSequence)]),
    ...insertCertificates(writes.certificates.map(fromCertificate)),
    ...insertRevocations(writes.revocations),
    ...insertTokens(writes.tokens.map(fromToken)),
    ...(redemptions.length === 0 ? [] : [redeemTokens(
      redemptions.map(({ id }) => id), redemptions.map(({ version }) => version), redemptions.map(({ redeemedAtMs }) => redeemedAtMs),
    )]),
    ...writes.deletions.map(({ id, deletedAtMs }) => deleteToken(deletedAtMs, id)),
    ...writes.prunings.flatMap(({ from, to, expiredBeforeMs }) => [pruneCertificates(from, to, expiredBeforeMs), pruneCheckpoints(from, to)]),
    ...(writes.forgetUntilMs === undefined ? [] : [forgetKeys(writes.forgetUntilMs)]),
    ...insertIdempotencyKeys(lastOfEach(writes.idempotencyKeys, ({ scope, key }) => JSON.stringify([scope, key]))),
    ...insertCrls(lastOfEach(writes.crls, ({ authorityId, list }) => JSON.stringify([authorityId, list])).map(fromCrl)),
    ...insertCeremonies(writes.ceremonies.map(fromCeremony)),
    ...writes.ceremonyClosings.map(({ id, closedAtMs }) => closeCeremony(closedAtMs, id)),
    ...insertDocuments(lastOfEach(writes.documents, ({ kind, name }) => JSON.stringify([kind, name])).map(fromDocument)),
    ...insertAnnouncements(writes.announcements),
    ...insertEntries(writes.entries.map((row) => ({ ...row, leafHash: toBuffer(row.leafHash) }))),
    ...insertSubtrees(writes.subtrees.map((row) => ({ ...row, hash: toBuffer(row.hash) }))),
    ...insertCheckpoints([checkpoint]),
    setHead(head.size, toBuffer(head.hashes)),
  ];
}

export const touchToken = statement("touch-token", sql`
  update ${schema.tokens} set ${bare(schema.tokens.lastUsedAtMs)} = ${value("usedAtMs")} where ${schema.tokens.id} = ${value("id")}`);

/** Values: serial numbers and sequences, one array each. */
export const acknowledge = statement("acknowledge", sql`
  with recursive family (serial_number, sequence, generation) as (
    select *, 0 from unnest(${value("serialNumbers")}::text[], ${value("sequences")}::bigint[]) union all
    select c.renewed_from, sequence, generation + 1 from family join ${schema.certificates} c on c.serial_number = family.serial_number
    where c.renewed_from is not null and generation < ${sql.raw(String(maxAcknowledgedGenerations))}
  ), highest as (select serial_number, max(sequence) as sequence from family group by serial_number order by serial_number)
  update ${schema.certificates} set ${bare(schema.certificates.acknowledgedSequence)} = highest.sequence from highest
  where ${schema.certificates.serialNumber} = highest.serial_number and ${schema.certificates.acknowledgedSequence} < highest.sequence`);

/** A row where it is the first. Rows that another replica is removing are left to it. */
export const spendRequest = statement("spend-request", sql`
  with forgotten as (
    delete from ${schema.spentRequests} where ctid = any(array(
      select ctid from ${schema.spentRequests} where ${schema.spentRequests.untilMs} < ${value("nowMs")} limit ${sql.raw(String(maxForgottenAlong))} for update skip locked))
  )
  insert into ${schema.spentRequests} (${bare(schema.spentRequests.spiffeId)}, ${bare(schema.spentRequests.nonce)}, ${bare(schema.spentRequests.untilMs)})
  values (${value("spiffeId")}, ${value("nonce")}, ${value("untilMs")}) on conflict do nothing returning 1`);

const forgottenAcme = sql`with forgotten as (
    delete from ${schema.acmeRecords} where ctid = any(array(
      select ctid from ${schema.acmeRecords} where ${schema.acmeRecords.untilMs} < ${value("nowMs")} limit ${sql.raw(String(maxForgottenAlong))} for update skip locked))
  )`;

/** A row where it is the first. */
export const insertAcme = statement("insert-acme", sql`${forgottenAcme}
  insert into ${schema.acmeRecords} (${bare(schema.acmeRecords.id)}, ${bare(schema.acmeRecords.version)}, ${bare(schema.acmeRecords.body)}, ${bare(schema.acmeRecords.untilMs)})
  values (${value("id")}, 1, ${value("body")}, ${value("untilMs")}) on conflict do nothing returning 1`);

/** A row where it is as it was read. */
export const updateAcme = statement("update-acme", sql`
  update ${schema.acmeRecords} set ${bare(schema.acmeRecords.version)} = ${schema.acmeRecords.version} + 1, ${bare(schema.acmeRecords.body)} = ${value("body")}, ${bare(schema.acmeRecords.untilMs)} = ${value("untilMs")}
  where ${schema.acmeRecords.id} = ${value("id")} and ${schema.acmeRecords.version} = ${value("version")} returning 1`);

/** A query for each statement that keeps these reports, or none. */
export function putReports(rows: readonly ReportRow[]): readonly Query[] {
  const newest = rows.at(-1);
  if (newest === undefined) return [];
  // In one order, so that two replicas which replace the same rows do not wait for each other.
  const last = lastOfEach(rows, ({ kind, name, part }) => JSON.stringify([kind, name, part]));
  return [...insertReports([...last].sort((a, b) => compare(a.name + a.part, b.name + b.part))), forgetReports(newest.reportedAtMs)];
}

/** Values: kinds, names and parts, one array each. */
export const dropReports = statement("drop-reports", sql`
  delete from ${schema.reports} where (kind, name, part) in
    (select * from unnest(${value("kinds")}::text[], ${value("names")}::text[], ${value("parts")}::text[]))`);

/** A row where there is none yet. */
export const claimReport = statement("claim-report", sql`
  insert into ${schema.reports} (kind, name, part, body, reported_at_ms, expires_at_ms)
  values (${value("kind")}, ${value("name")}, ${value("part")}, ${value("body")}, ${value("reportedAtMs")}, ${value("expiresAtMs")}) on conflict do nothing returning 1`);

/** A row in place of the one that is expected. */
export const replaceReport = statement("replace-report", sql`
  update ${schema.reports} set body = ${value("body")}, reported_at_ms = ${value("reportedAtMs")}, expires_at_ms = ${value("expiresAtMs")}
  where kind = ${value("kind")} and name = ${value("name")} and part = ${value("part")} and body = ${value("expected")} returning 1`);

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A statement that meets a row twice keeps either of the two, or fails: only the last may stay. */
function lastOfEach<Row>(rows: readonly Row[], name: (row: Row) => string): readonly Row[] {
  return rows.length < 2 ? rows : [...new Map(rows.map((row) => [name(row), row])).values()];
}

const insertStates = insertion(schema.caState);
const insertAuthorities = insertion(schema.authorities);
const insertCertificates = insertion(schema.certificates);
const insertRevocations = insertion(schema.revocations);
const insertTokens = insertion(schema.tokens);
const insertCeremonies = insertion(schema.ceremonies);
const insertAnnouncements = insertion(schema.announcements);
const insertDocuments = insertion(schema.documents, sql`
  on conflict (kind, name) do update set
    body = excluded.body, sequence = excluded.sequence, changed_at_ms = excluded.changed_at_ms, changed_by = excluded.changed_by`);
const insertReports = insertion(schema.reports, sql`
  on conflict (kind, name, part) do update set
    body = excluded.body, reported_at_ms = excluded.reported_at_ms, expires_at_ms = excluded.expires_at_ms
  where excluded.reported_at_ms >= ${schema.reports.reportedAtMs}`);
const forgetReports = statement("forget-reports", sql`
  delete from ${schema.reports} where (kind, name, part) in
    (select kind, name, part from ${schema.reports} where ${schema.reports.expiresAtMs} <= ${value("nowMs")}
     order by kind, name, part limit ${sql.raw(String(maxForgottenReports))} for update skip locked)`);
const insertEntries = insertion(schema.auditEntries);
const insertSubtrees = insertion(schema.auditSubtrees);
const insertCheckpoints = insertion(schema.auditCheckpoints);
const insertIdempotencyKeys = insertion(schema.idempotencyKeys, sql`
  on conflict (scope, key) do update set
    request_hash = excluded.request_hash, serial_number = excluded.serial_number, expires_at_ms = excluded.expires_at_ms`);
const insertCrls = insertion(schema.crls, sql`
  on conflict (authority_id, list) do update set
    number = excluded.number, this_update_ms = excluded.this_update_ms, next_update_ms = excluded.next_update_ms, sequence = excluded.sequence,
    dropped_sequence = excluded.dropped_sequence, dropped_before_ms = excluded.dropped_before_ms, fingerprint = excluded.fingerprint,
    signature = excluded.signature, crl = excluded.crl`);

const setAuthorityState = statement("set-authority-state", sql`
  update ${schema.authorities} set ${bare(schema.authorities.state)} = ${value("state")}, ${bare(schema.authorities.stateSinceMs)} = ${value("atMs")},
    ${bare(schema.authorities.activateAtMs)} = coalesce(${value("activateAtMs")}::bigint, ${schema.authorities.activateAtMs})
  where ${schema.authorities.id} = ${value("id")}`);
const setLastNotAfter = statement("set-last-not-after", sql`
  update ${schema.authorities} set ${bare(schema.authorities.lastNotAfterMs)} = ${value("lastNotAfterMs")} where ${schema.authorities.id} = ${value("id")}`);
const setSealing = statement("set-sealing", sql`
  update ${schema.caState} set ${bare(schema.caState.sealedLogKey)} = ${value("sealedLogKey")}, ${bare(schema.caState.wrappedSealingKey)} = ${value("wrappedSealingKey")}`);
const setSealedKey = statement("set-sealed-key", sql`
  update ${schema.authorities} set ${bare(schema.authorities.sealedPrivateKey)} = ${value("sealed")} where ${schema.authorities.id} = ${value("id")}`);
const setBundleSequence = statement("set-bundle-sequence", sql`update ${schema.caState} set ${bare(schema.caState.bundleSequence)} = ${value("bundleSequence")}`);
const redeemTokens = statement("redeem-tokens", sql`
  update ${schema.tokens} set ${bare(schema.tokens.version)} = redeemed.version, ${bare(schema.tokens.redeemedAtMs)} = redeemed.at_ms
  from unnest(${value("ids")}::text[], ${value("versions")}::bigint[], ${value("times")}::bigint[]) as redeemed (id, version, at_ms)
  where ${schema.tokens.id} = redeemed.id`);
const deleteToken = statement("delete-token", sql`
  update ${schema.tokens} set ${bare(schema.tokens.deletedAtMs)} = ${value("deletedAtMs")} where ${schema.tokens.id} = ${value("id")}`);
/** 1024 at a time: each commit adds a key for each of its acts at most, so this always catches up. */
const forgetKeys = statement("forget-idempotency-keys", sql`
  delete from ${schema.idempotencyKeys} where (scope, key) in
    (select scope, key from ${schema.idempotencyKeys} where ${schema.idempotencyKeys.expiresAtMs} <= ${value("untilMs")} limit 1024)`);
const closeCeremony = statement("close-ceremony", sql`
  update ${schema.ceremonies} set ${bare(schema.ceremonies.closedAtMs)} = ${value("closedAtMs")} where ${schema.ceremonies.id} = ${value("id")}`);
const pruneCertificates = statement("prune-certificates", sql`
  delete from ${schema.certificates} where ${schema.certificates.logIndex} >= ${value("from")} and ${schema.certificates.logIndex} < ${value("to")}
    and ${schema.certificates.notAfterMs} < ${value("expiredBeforeMs")}`);
const pruneCheckpoints = statement("prune-checkpoints", sql`
  delete from ${schema.auditCheckpoints} where ${schema.auditCheckpoints.size} >= ${value("from")} and ${schema.auditCheckpoints.size} < ${value("to")}
    and exists (select from ${schema.auditCheckpoints} later
      where later.size > ${schema.auditCheckpoints.size} and later.size < (${schema.auditCheckpoints.size} / 256 + 1) * 256)`);
const setHead = statement("set-head", sql`
  update ${schema.logHead} set ${bare(schema.logHead.size)} = ${value("size")}, ${bare(schema.logHead.hashes)} = ${value("hashes")}`);
