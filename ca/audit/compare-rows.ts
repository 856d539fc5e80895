import { hash } from "node:crypto";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { CertificateRow } from "../store/rows/certificates.ts";
import type { RevocationRow } from "../store/rows/revocations.ts";
import type { TokenRow } from "../store/rows/tokens.ts";
import type { AuditEvent } from "./event.ts";

/** What stands in a certificate's row for a key that another row has already: rows have one key each. */
export function reusedKeyName(keyFingerprint: Uint8Array, serialNumber: string): Uint8Array {
  return hash("sha256", Buffer.concat([keyFingerprint, Buffer.from(serialNumber, "hex")]), "buffer");
}

type EventOf<Type extends AuditEvent["type"]> = Extract<AuditEvent, { readonly type: Type }>;

/** Names the first column in which a certificate's row and its entry differ, or undefined if they tell the same. */
export function certificateDifference(event: EventOf<"certificate.issued">, row: CertificateRow): string | undefined {
  return firstDifference({
    "serial number": [event.serialNumber, row.serialNumber],
    "SPIFFE ID": [event.spiffeId, row.spiffeId],
    "DNS names": [event.dnsNames ?? [], row.dnsNames],
    certificate: [event.fingerprint, hash("sha256", row.certificate)],
    key: [event.keyReused === true ? hex(reusedKeyName(Buffer.from(event.keyFingerprint, "hex"), event.serialNumber)) : event.keyFingerprint, hex(row.keyFingerprint)],
    notBefore: [Date.parse(event.notBefore), row.notBeforeMs],
    notAfter: [Date.parse(event.notAfter), row.notAfterMs],
    authority: [event.authorityId, row.authorityId],
    attestation: [event.attestation, row.attestation],
    attestor: [event.attestor, row.attestor],
    "certificate renewed from": [event.renewedFrom, row.renewedFrom],
  });
}

/** Names the first column in which a revocation's row and its entry differ, or undefined if they tell the same. */
export function revocationDifference(event: EventOf<"certificate.revoked" | "authority.revoked" | "upstream.revoked">, row: RevocationRow): string | undefined {
  return firstDifference({ "serial number": [event.serialNumber, row.serialNumber], reason: [event.reason, row.reason] });
}

/** What a token may do is in its entry, and by its hash the secret that it answers to. */
export function tokenDifference(event: EventOf<"token.created">, row: TokenRow): string | undefined {
  return firstDifference({
    type: [event.tokenType, row.type],
    secret: [event.secretHash, hex(row.secretHash)],
    "SPIFFE ID": [event.spiffeId, row.spiffeId],
    "DNS names": [event.dnsNames ?? [], row.dnsNames ?? []],
    role: [event.role, row.role],
    scope: [event.scope ?? [], row.scope ?? []],
    expiry: [event.expiresAt === undefined ? undefined : Date.parse(event.expiresAt), row.expiresAtMs],
  });
}

/** Names the first column in which an authority's row and its entry differ, or undefined if they tell the same. */
export function authorityDifference(event: EventOf<"authority.created">, row: AuthorityRow): string | undefined {
  return firstDifference({
    type: [event.authorityType, row.type],
    certificate: [event.fingerprint, hash("sha256", row.certificate)],
    "authority above it": [event.signedBy, row.parentId ?? event.signedBy],
    "cross certificate": [event.crossFingerprint, row.crossCertificate && hash("sha256", row.crossCertificate)],
    "sequence of its publication": [event.bundleSequence ?? row.publishedSequence, row.publishedSequence],
  });
}

function firstDifference(members: Readonly<Record<string, readonly [unknown, unknown]>>): string | undefined {
  return Object.keys(members).find((name) => JSON.stringify(members[name]![0]) !== JSON.stringify(members[name]![1]));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
