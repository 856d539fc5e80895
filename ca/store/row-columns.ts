import type { AuthorityKey, AuthorityRow } from "./rows/authorities.ts";
import type { CaState } from "./rows/ca-state.ts";
import type { CeremonyRow } from "./rows/ceremonies.ts";
import type { CertificateRow, IdempotentRow, NewCertificate } from "./rows/certificates.ts";
import type { CrlRow } from "./rows/crls.ts";
import type { DocumentRow } from "./rows/documents.ts";
import type { RevocationRow } from "./rows/revocations.ts";
import type { TokenRow } from "./rows/tokens.ts";
import type { LaterFact } from "./facts.ts";
import type { AuthorityFact } from "./plan-authorities.ts";
import type * as schema from "./schema-sqlite.ts";

/** Rows of the database to values of the store and back: what is absent here is null there, lists are JSON there. */

type Stored<Table extends { readonly $inferSelect: unknown }> = Table["$inferSelect"];

export function toCaState({ id: _, wrappedSealingKey, ...row }: Stored<typeof schema.caState>): CaState {
  return { ...row, ...(wrappedSealingKey !== "" && { wrappedSealingKey }) };
}

export function toAuthority(row: Stored<typeof schema.authorities>): AuthorityRow {
  const { id, type, state, certificate, parentId, crossCertificate, publishedSequence, activateAtMs, notBeforeMs, notAfterMs, createdAtMs } = row;
  return {
    id, type, state, certificate, notBeforeMs, notAfterMs, createdAtMs,
    key: toAuthorityKey(row),
    ...(parentId !== null && { parentId }),
    ...(crossCertificate !== null && { crossCertificate }),
    ...(publishedSequence !== null && { publishedSequence }),
    ...(activateAtMs !== null && { activateAtMs }),
    lastNotAfterMs: row.lastNotAfterMs ?? latestNotAfter(row),
    stateSinceMs: row.stateSinceMs ?? createdAtMs,
  };
}

/** Nothing outlives the issuer that signed it; the others sign no workload. */
function latestNotAfter({ type, notAfterMs }: Pick<AuthorityRow, "type" | "notAfterMs">): number {
  return type === "issuer" ? notAfterMs : 0;
}

function toAuthorityKey({ id, keyKind, sealedPrivateKey, keyReference }: Stored<typeof schema.authorities>): AuthorityKey {
  if (keyKind === "offline" || keyKind === "upstream") return { kind: keyKind };
  if (keyKind === "sealed" && sealedPrivateKey !== null) return { kind: "sealed", sealed: sealedPrivateKey };
  if (keyKind === "kms" && keyReference !== null) return { kind: "kms", keyId: keyReference };
  if (keyKind === "pkcs11" && keyReference !== null) return { kind: "pkcs11", uri: keyReference };
  throw new TypeError(`the row of authority ${id} does not say where its key is`);
}

export function fromAuthority(row: AuthorityRow): Stored<typeof schema.authorities> {
  const { id, type, state, certificate, key, crossCertificate, lastNotAfterMs, stateSinceMs, notBeforeMs, notAfterMs, createdAtMs } = row;
  return {
    id, type, state, lastNotAfterMs, stateSinceMs, notBeforeMs, notAfterMs, createdAtMs,
    certificate: toBuffer(certificate),
    keyKind: key.kind,
    sealedPrivateKey: key.kind === "sealed" ? toBuffer(key.sealed) : null,
    keyReference: key.kind === "kms" ? key.keyId : key.kind === "pkcs11" ? key.uri : null,
    parentId: row.parentId ?? null,
    crossCertificate: crossCertificate === undefined ? null : toBuffer(crossCertificate),
    publishedSequence: row.publishedSequence ?? null,
    activateAtMs: row.activateAtMs ?? null,
  };
}

/** @param revocation  the certificate's own, if it has one */
export function toCertificate(
  { dnsNames, tokenId, renewedFrom, attestor, acknowledgedSequence, ...row }: Stored<typeof schema.certificates>,
  revocation: Pick<RevocationRow, "sequence" | "revokedAtMs" | "reason"> | null,
): CertificateRow {
  return {
    ...row,
    dnsNames: parseList(dnsNames) ?? [],
    ...(tokenId !== null && { tokenId }),
    ...(renewedFrom !== null && { renewedFrom }),
    ...(attestor !== null && { attestor }),
    ...(acknowledgedSequence > 0 && { acknowledgedSequence }),
    ...(revocation !== null && { revokedAtMs: revocation.revokedAtMs, revocationReason: revocation.reason, revocationSequence: revocation.sequence }),
  };
}

export function toCeremony({ sealedPrivateKey, closedAtMs, ...row }: Stored<typeof schema.ceremonies>): CeremonyRow {
  return { ...row, ...(sealedPrivateKey !== null && { sealedPrivateKey }), ...(closedAtMs !== null && { closedAtMs }) };
}

export function fromCeremony({ id, request, sealedPrivateKey, createdAtMs, closedAtMs }: CeremonyRow): Stored<typeof schema.ceremonies> {
  return {
    id, request, createdAtMs,
    sealedPrivateKey: sealedPrivateKey === undefined ? null : toBuffer(sealedPrivateKey),
    closedAtMs: closedAtMs ?? null,
  };
}

/** What the `authorities` fact selects. */
export interface AuthorityFactRow {
  readonly id: string;
  readonly type: AuthorityRow["type"];
  readonly state: AuthorityRow["state"];
  readonly parent_id: string | null;
  readonly last_not_after_ms: number | string | null;
  readonly not_after_ms: number | string;
}

export function toAuthorityFact(row: AuthorityFactRow): AuthorityFact {
  const { id, type, state, parent_id: parentId } = row;
  const notAfterMs = Number(row.not_after_ms);
  const lastNotAfterMs = Number(row.last_not_after_ms ?? latestNotAfter({ type, notAfterMs }));
  return { id, type, state, lastNotAfterMs, notAfterMs, ...(parentId !== null && { parentId }) };
}

export function toDocument({ body, ...row }: Stored<typeof schema.documents>): DocumentRow {
  return { ...row, ...(body !== null && { body }) };
}

export function fromDocument({ body, ...row }: DocumentRow): Stored<typeof schema.documents> {
  return { ...row, body: body ?? null };
}

/** What `issuedAfter` selects. */
export interface LaterRow {
  readonly serial_number: string;
  readonly not_after_ms: number | string;
  readonly authority_id: string;
  readonly renewed_from: string | null;
  readonly revoked: boolean | number;
}

export function toLaterFact(
  { serial_number: serialNumber, not_after_ms: notAfterMs, authority_id: authorityId, renewed_from: renewedFrom, revoked }: LaterRow,
): LaterFact {
  return { serialNumber, notAfterMs: Number(notAfterMs), authorityId, revoked: Boolean(revoked), ...(renewedFrom !== null && { renewedFrom }) };
}

export function fromCertificate(certificate: NewCertificate & { readonly logIndex: number }): Stored<typeof schema.certificates> {
  const { dnsNames, tokenId, renewedFrom, attestor, acknowledgedSequence } = certificate;
  return {
    ...certificate,
    certificate: toBuffer(certificate.certificate),
    keyFingerprint: toBuffer(certificate.keyFingerprint),
    dnsNames: dnsNames.length === 0 ? null : JSON.stringify(dnsNames),
    tokenId: tokenId ?? null,
    renewedFrom: renewedFrom ?? null,
    attestor: attestor ?? null,
    acknowledgedSequence: acknowledgedSequence ?? 0,
  };
}

export function toToken(row: Stored<typeof schema.tokens>): TokenRow {
  const { id, type, secretHash, version, createdAtMs, createdBy } = row;
  const dnsNames = parseList(row.dnsNames);
  const scope = parseList(row.scope);
  return {
    id, type, secretHash, version, createdAtMs, createdBy,
    ...(row.expiresAtMs !== null && { expiresAtMs: row.expiresAtMs }),
    ...(row.spiffeId !== null && { spiffeId: row.spiffeId }),
    ...(dnsNames !== undefined && { dnsNames }),
    ...(row.redeemedAtMs !== null && { redeemedAtMs: row.redeemedAtMs }),
    ...(row.name !== null && { name: row.name }),
    ...(row.role !== null && { role: row.role }),
    ...(scope !== undefined && { scope }),
    ...(row.lastUsedAtMs !== null && { lastUsedAtMs: row.lastUsedAtMs }),
    ...(row.deletedAtMs !== null && { deletedAtMs: row.deletedAtMs }),
  };
}

export function fromToken(token: TokenRow): Stored<typeof schema.tokens> {
  return {
    id: token.id,
    type: token.type,
    secretHash: toBuffer(token.secretHash),
    version: token.version,
    createdAtMs: token.createdAtMs,
    createdBy: token.createdBy,
    expiresAtMs: token.expiresAtMs ?? null,
    spiffeId: token.spiffeId ?? null,
    dnsNames: token.dnsNames === undefined ? null : JSON.stringify(token.dnsNames),
    redeemedAtMs: token.redeemedAtMs ?? null,
    name: token.name ?? null,
    role: token.role ?? null,
    scope: token.scope === undefined ? null : JSON.stringify(token.scope),
    lastUsedAtMs: token.lastUsedAtMs ?? null,
    deletedAtMs: token.deletedAtMs ?? null,
  };
}

export function toIdempotent({ requestHash, serialNumber, expiresAtMs }: Stored<typeof schema.idempotencyKeys>): IdempotentRow {
  return { requestHash, serialNumber, expiresAtMs };
}

export function toCrl({ crl, ...row }: Stored<typeof schema.crls>): CrlRow {
  return { ...row, ...(crl !== null && { crl }) };
}

export function fromCrl(row: CrlRow): Stored<typeof schema.crls> {
  return { ...row, signature: toBuffer(row.signature), crl: row.crl === undefined ? null : toBuffer(row.crl) };
}

/** The drivers bind Buffers; a view, not a copy. */
export function toBuffer(bytes: Uint8Array): Buffer {
  return bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function parseList(json: string | null): readonly string[] | undefined {
  return json === null ? undefined : JSON.parse(json) as string[];
}
