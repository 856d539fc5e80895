import { sql } from "drizzle-orm";
import type pg from "pg";
import { maxLaterCertificates, nameOfKey, type Facts } from "./facts.ts";
import { statement, value, type Query } from "./postgres-statement.ts";
import { type AuthorityFactRow, type LaterRow, toAuthorityFact, toBuffer, toLaterFact } from "./row-columns.ts";
import { authorities, caState, ceremonies, certificates, crls, documents, idempotencyKeys, leases, revocations, tokens } from "./schema-postgres.ts";
import type { Act } from "./acts.ts";

/** What a group of acts may ask, as queries to send together, and how to read their answers. */
export interface FactQueries {
  readonly queries: readonly Query[];
  /** @param answers  one for each query, in order */
  read(answers: readonly pg.QueryResult[]): Facts;
}

/** Queries for everything `planGroup` may ask about these acts; at most one for each table, and for each revocation of a family. */
export function factQueries(acts: readonly Act[]): FactQueries {
  const wanted = wantedFacts(acts);
  const queries: Query[] = [];
  /** @returns the rows that answer the query; none if it was not worth asking */
  function ask<Row>(isWanted: boolean, query: () => Query): (answers: readonly pg.QueryResult[]) => readonly Row[] {
    if (!isWanted) return () => [];
    const index = queries.push(query()) - 1;
    return (answers) => answers[index]!.rows as Row[];
  }
  const certificateRows = ask<CertificateFactRow>(wanted.serialNumbers.length > 0, () => certificateFacts(wanted.serialNumbers));
  const laterRows = wanted.descendants.map(({ serialNumber, spiffeId }) => (
    { serialNumber, rows: ask<LaterRow>(true, () => laterFacts(spiffeId, serialNumber, maxLaterCertificates)) }
  ));
  const keyRows = ask<{ key_fingerprint: Buffer }>(wanted.keyFingerprints.length > 0, () => keyFacts(wanted.keyFingerprints));
  const tokenRows = ask<{ id: string; version: string; deleted: boolean }>(wanted.tokenIds.length > 0, () => tokenFacts(wanted.tokenIds));
  const keyExpiryRows = ask<{ scope: string; key: string; expires_at_ms: string }>(
    wanted.scopes.length > 0, () => idempotencyFacts(wanted.scopes, wanted.keys),
  );
  const authorityRows = ask<AuthorityFactRow>(
    wanted.authorities || wanted.signers.size > 0, () => authorityFacts([...wanted.signers], wanted.authorities),
  );
  const leaseRows = ask<{ name: string; token: string }>(wanted.leases.length > 0, () => leaseFacts(wanted.leases));
  const crlRows = ask<{ authority_id: string; list: string; number: string }>(
    wanted.lists.length > 0, () => crlFacts(wanted.lists.map(({ authorityId }) => authorityId), wanted.lists.map(({ list }) => list)),
  );
  const ceremonyRows = ask<{ id: string }>(wanted.ceremonies.length > 0, () => ceremonyFacts(wanted.ceremonies));
  const documentRows = ask<{ sequence: string }>(wanted.documents, () => documentFacts());
  const stateRows = ask<{ bundle_sequence: string; sealed_log_key: Buffer }>(wanted.state, () => stateFacts());

  return {
    queries,
    read(answers) {
      const bySerialNumber = new Map(certificateRows(answers).map((row) => [
        row.serial_number, { notAfterMs: Number(row.not_after_ms), authorityId: row.authority_id, revoked: row.revoked },
      ]));
      const later = new Map(laterRows.map(({ serialNumber, rows }) => [serialNumber, rows(answers).map(toLaterFact)]));
      const usedKeys = new Set(keyRows(answers).map((row) => nameOfKey(row.key_fingerprint)));
      const byTokenId = new Map(tokenRows(answers).map((row) => [row.id, { version: Number(row.version), deleted: row.deleted }]));
      const keyExpiry = new Map(keyExpiryRows(answers).map((row) => [JSON.stringify([row.scope, row.key]), Number(row.expires_at_ms)]));
      const leaseTokens = new Map(leaseRows(answers).map(({ name, token }) => [name, Number(token)]));
      const crlNumbers = new Map(crlRows(answers).map((row) => [JSON.stringify([row.authority_id, row.list]), Number(row.number)]));
      const openCeremonies = new Set(ceremonyRows(answers).map(({ id }) => id));
      const allAuthorities = authorityRows(answers).map(toAuthorityFact);
      return {
        initialized: stateRows(answers).length > 0,
        bundleSequence: stateRows(answers).map((row) => Number(row.bundle_sequence))[0],
        certificate: (serialNumber) => bySerialNumber.get(serialNumber),
        issuedAfter: (serialNumber) => later.get(serialNumber) ?? [],
        keyUsed: (keyFingerprint) => usedKeys.has(nameOfKey(keyFingerprint)),
        token: (id) => byTokenId.get(id),
        idempotencyKeyExpiry: (scope, key) => keyExpiry.get(JSON.stringify([scope, key])),
        documentSequence: () => Number(documentRows(answers)[0]?.sequence ?? 0),
        ceremonyOpen: (id) => openCeremonies.has(id),
        authorities: () => allAuthorities.filter(({ state }) => state !== "retired" && state !== "revoked"),
        authority: (id) => allAuthorities.find((fact) => fact.id === id),
        sealedLogKey: () => stateRows(answers)[0]?.sealed_log_key,
        leaseToken: (name) => leaseTokens.get(name),
        crlNumber: (authorityId, list) => crlNumbers.get(JSON.stringify([authorityId, list])),
      };
    },
  };
}

interface CertificateFactRow {
  readonly serial_number: string;
  readonly not_after_ms: string;
  readonly authority_id: string;
  readonly revoked: boolean;
}

function wantedFacts(acts: readonly Act[]) {
  const wanted = {
    serialNumbers: [] as string[], keyFingerprints: [] as Buffer[], tokenIds: [] as string[], scopes: [] as string[], keys: [] as string[],
    descendants: [] as { readonly serialNumber: string; readonly spiffeId: string }[], leases: [] as string[], ceremonies: [] as string[],
    authorities: false, documents: false, state: false, signers: new Set<string>(),
    lists: [] as { readonly authorityId: string; readonly list: string }[],
  };
  for (const act of acts) {
    if (act.kind === "issue") {
      wanted.serialNumbers.push(act.certificate.serialNumber);
      if (act.certificate.renewedFrom !== undefined) wanted.serialNumbers.push(act.certificate.renewedFrom);
      wanted.signers.add(act.certificate.authorityId);
      wanted.keyFingerprints.push(toBuffer(act.certificate.keyFingerprint));
      if (act.redeem !== undefined) wanted.tokenIds.push(act.redeem.tokenId);
      if (act.idempotency !== undefined) {
        wanted.scopes.push(act.idempotency.scope);
        wanted.keys.push(act.idempotency.key);
      }
    }
    if (act.kind === "revoke") {
      wanted.serialNumbers.push(act.serialNumber);
      if (act.descendants !== undefined) wanted.descendants.push({ serialNumber: act.serialNumber, spiffeId: act.descendants.spiffeId });
    }
    if (act.kind === "issue-jwt-svid") wanted.signers.add(act.authorityId);
    if (act.kind === "publish-crl") wanted.lists.push(act.crl);
    if (act.kind === "delete-token") wanted.tokenIds.push(act.tokenId);
    if (act.answers !== undefined) wanted.ceremonies.push(...act.answers.ceremonies);
    if (act.fence !== undefined) wanted.leases.push(act.fence.lease);
    wanted.documents ||= act.kind === "change-documents";
    wanted.state ||= act.kind === "initialize" || act.kind === "change-authorities" || act.sealing !== undefined;
    wanted.authorities ||= act.kind === "initialize" || act.kind === "change-authorities";
  }
  return wanted;
}

const certificateFacts = statement("certificate-facts", sql`
  select ${certificates.serialNumber}, ${certificates.notAfterMs}, ${certificates.authorityId},
    exists (select from ${revocations} where ${revocations.serialNumber} = ${certificates.serialNumber}) as revoked
  from ${certificates} where ${certificates.serialNumber} = any(${value("serialNumbers")}::text[])`);
const laterFacts = statement("later-facts", sql`
  select ${certificates.serialNumber}, ${certificates.notAfterMs}, ${certificates.authorityId}, ${certificates.renewedFrom},
    exists (select from ${revocations} where ${revocations.serialNumber} = ${certificates.serialNumber}) as revoked
  from ${certificates}
  where ${certificates.spiffeId} = ${value("spiffeId")}
    and ${certificates.logIndex} > (select p.log_index from ${certificates} p where p.serial_number = ${value("serialNumber")})
  order by ${certificates.logIndex} limit ${value("limit")}`);
const keyFacts = statement("key-facts", sql`
  select ${certificates.keyFingerprint} from ${certificates} where ${certificates.keyFingerprint} = any(${value("keyFingerprints")}::bytea[])`);
const tokenFacts = statement("token-facts", sql`
  select ${tokens.id}, ${tokens.version}, ${tokens.deletedAtMs} is not null as deleted from ${tokens} where ${tokens.id} = any(${value("ids")}::text[])`);
const idempotencyFacts = statement("idempotency-facts", sql`
  select ${idempotencyKeys.scope}, ${idempotencyKeys.key}, ${idempotencyKeys.expiresAtMs} from ${idempotencyKeys}
  where (${idempotencyKeys.scope}, ${idempotencyKeys.key}) in (select * from unnest(${value("scopes")}::text[], ${value("keys")}::text[]))`);
/** Locked until we commit: whoever takes the lease meanwhile finds all that was done under it. */
const leaseFacts = statement("lease-facts", sql`
  select ${leases.name}, ${leases.token} from ${leases}
  where ${leases.name} = any(${value("names")}::text[]) and ${leases.holder} <> '' for share`);
const authorityFacts = statement("authority-facts", sql`
  select ${authorities.id}, ${authorities.type}, ${authorities.state}, ${authorities.parentId}, ${authorities.lastNotAfterMs}, ${authorities.notAfterMs}
  from ${authorities} where ${authorities.id} = any(${value("ids")}::text[]) or ${value("all")}::boolean and ${authorities.state} in ('prepared', 'active', 'retiring', 'tainted')`);
const crlFacts = statement("crl-facts", sql`
  select ${crls.authorityId}, ${crls.list}, ${crls.number} from ${crls}
  where (${crls.authorityId}, ${crls.list}) in (select * from unnest(${value("authorityIds")}::text[], ${value("lists")}::text[]))`);
const documentFacts = statement("document-facts", sql`select coalesce(max(${documents.sequence}), 0) as sequence from ${documents}`);
const ceremonyFacts = statement("ceremony-facts", sql`
  select ${ceremonies.id} from ${ceremonies} where ${ceremonies.id} = any(${value("ids")}::text[]) and ${ceremonies.closedAtMs} is null`);
const stateFacts = statement("state-facts", sql`select ${caState.bundleSequence}, ${caState.sealedLogKey} from ${caState}`);
