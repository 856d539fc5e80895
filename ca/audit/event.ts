import type { AuthorityState, AuthorityType } from "../contract/authorities.ts";
import type { RevocationReason } from "../contract/revocations.ts";
import type { Role } from "../contract/roles.ts";
import type { DocumentKind } from "../store/rows/documents.ts";
import { isoTimes } from "./iso-time.ts";

/**
 * Every act the log records, as data. An entry is this plus `time` (RFC 3339, milliseconds) and `actor`; it holds no
 * secret, key or CSR (DESIGN promise 10).
 */
export type AuditEvent =
  | { readonly type: "ca.initialized"; readonly trustDomain: string; readonly logKey: string }
  | {
      readonly type: "authority.created";
      readonly authorityId: string;
      readonly authorityType: AuthorityType;
      readonly fingerprint: string;
      readonly serialNumber: string;
      readonly notBefore: string;
      readonly notAfter: string;
      readonly signedBy?: string;
      /** Absent: active. */
      readonly state?: AuthorityState;
      /** SHA-256 of the certificate that the root before it made of its key. */
      readonly crossFingerprint?: string;
      /** Of the bundle that first has it. */
      readonly bundleSequence?: number;
    }
  | ({ readonly type: "authority.state-changed"; readonly authorityId: string; readonly from: AuthorityState; readonly to: AuthorityState } & AuthorityAct)
  /** One for each certificate of the authority, its cross certificate included. */
  | ({
      readonly type: "authority.revoked";
      readonly authorityId: string;
      readonly serialNumber: string;
      readonly from: AuthorityState;
      readonly reason: RevocationReason;
    } & AuthorityAct)
  | {
      readonly type: "certificate.issued";
      readonly serialNumber: string;
      readonly spiffeId: string;
      readonly dnsNames?: readonly string[];
      readonly fingerprint: string;
      readonly keyFingerprint: string;
      /** The workload had a certificate for this key before: its profile lets it keep its key. */
      readonly keyReused?: true;
      readonly notBefore: string;
      readonly notAfter: string;
      readonly authorityId: string;
      readonly attestation: string;
      /** Name of the configured attestor that its line began with. */
      readonly attestor?: string;
      /** What that attestor's evidence said of who asks; not for renewals. */
      readonly evidence?: Readonly<Record<string, string>>;
      /** Serial number of the certificate it was renewed from. */
      readonly renewedFrom?: string;
      /** Of a named one. */
      readonly profile?: string;
    }
  /** Behind a `certificate.issued`: that certificate is a subordinate issuer for another CA, and this is what it may do. */
  | {
      readonly type: "issuer.issued";
      readonly serialNumber: string;
      readonly trustDomain: string;
      readonly profile: string;
      readonly pathLength: number;
      readonly permittedUris?: readonly string[];
      readonly permittedDnsNames?: readonly string[];
    }
  /** A token; what is in it, and SHA-256 of its text. */
  | {
      readonly type: "jwt-svid.issued";
      readonly jwtId: string;
      readonly spiffeId: string;
      readonly audience: readonly string[];
      /** Of the key that signed, its `kid`. */
      readonly authorityId: string;
      readonly fingerprint: string;
      readonly issuedAt: string;
      readonly expiresAt: string;
    }
  /** The CA above revoked a CA: another cluster's, or one of its own; what it signed is refused here too. */
  | { readonly type: "upstream.revoked"; readonly serialNumber: string; readonly reason: RevocationReason; readonly trustDomain: string }
  | { readonly type: "certificate.denied"; readonly code: string; readonly attestation?: string; readonly spiffeId?: string }
  | { readonly type: "certificate.revoked"; readonly serialNumber: string; readonly spiffeId: string; readonly reason: RevocationReason }
  | {
      readonly type: "token.created";
      readonly tokenId: string;
      readonly tokenType: "join" | "api";
      /** SHA-256 of the secret, hex: of 256 random bits it gives nothing away. */
      readonly secretHash: string;
      readonly spiffeId?: string;
      readonly dnsNames?: readonly string[];
      readonly name?: string;
      readonly role?: Role;
      readonly scope?: readonly string[];
      readonly expiresAt?: string;
    }
  | {
      readonly type: "crl.signed";
      readonly authorityId: string;
      /** Which of its lists. */
      readonly list: string;
      readonly number: number;
      /** SHA-256 of the DER. */
      readonly fingerprint: string;
      readonly thisUpdate: string;
      readonly nextUpdate: string;
      readonly entries: number;
    }
  | {
      readonly type: "ocsp-signer.issued";
      readonly authorityId: string;
      readonly serialNumber: string;
      readonly fingerprint: string;
      readonly keyFingerprint: string;
      readonly notBefore: string;
      readonly notAfter: string;
    }
  | { readonly type: "token.deleted"; readonly tokenId: string }
  /** A SPIFFE ID pattern and the role of whoever has such an ID; a policy; a service: as it is from now on. */
  | { readonly type: `${DocumentKind}.changed`; readonly name: string; readonly document: unknown }
  | { readonly type: `${DocumentKind}.removed`; readonly name: string }
  | { readonly type: "request.denied"; readonly code: string; readonly method: string; readonly path: string }
  /** Bytes that broke rules of the lint and were not signed. */
  | {
      readonly type: "lint.failed";
      readonly artefact: string;
      readonly kind: string;
      readonly rules: readonly { readonly id: string; readonly citation: string; readonly detail: string }[];
      readonly spiffeId?: string;
    }
  /** Certificates whose entries come before `below` and that ended before `expiredBefore` are no longer in their table. */
  | { readonly type: "certificates.pruned"; readonly below: number; readonly expiredBefore: string }
  /** Somebody signed in to the dashboard; `session` is no secret. */
  | { readonly type: "session.started"; readonly session: string; readonly role: string; readonly expiresAt: string }
  /** All private keys of the store are sealed under another sealing key: one in a file or the environment, or one that KMS wraps. */
  | { readonly type: "sealing.changed"; readonly sealing: "key" | "kms"; readonly kmsKey?: string; readonly keys: number }
  /** An admin said what time it is by another clock, which agrees with the CA's: it is trusted again. */
  | { readonly type: "clock.confirmed"; readonly doubt: string; readonly witnessed: string }
  /** The CA went on with a log that lacks what was witnessed, because an operator said so. */
  | {
      readonly type: "log.rollback-accepted";
      readonly size: number;
      readonly witnessedSize: number;
      /** Base64. */
      readonly witnessedRoot: string;
    }
  /** A key outside (KMS, a token) is about to sign bytes of this SHA-256; an authority or a CRL of them may follow. */
  | { readonly type: "signature.intended"; readonly authorityId: string; readonly key: "kms" | "pkcs11"; readonly messageHash: string }
  /** Something was asked of a key that is offline; the ID is the SHA-256 of the request. */
  | { readonly type: "ceremony.requested"; readonly ceremony: string; readonly kind: string }
  /** What came back, with the transcript of the machine that holds the key, whole. */
  | {
      readonly type: "ceremony.answered";
      readonly ceremony: string;
      readonly kind: string;
      /** SHA-256 of what was signed, hex. */
      readonly result: string;
      readonly transcriptHash: string;
      readonly transcript: object;
    }
  | { readonly type: "ceremony.withdrawn"; readonly ceremony: string }
  /** An operator looked at live requests of a workload. */
  | {
      readonly type: "tap.started";
      readonly tap: string;
      readonly workload: string;
      readonly seconds: number;
      readonly limit: number;
      readonly direction?: "inbound" | "outbound";
      readonly method?: string;
      readonly path?: string;
    }
  /** Denials above the rate at which they are recorded one by one. */
  | { readonly type: "denials.suppressed"; readonly count: number };

/** What else there is to say of a step in an authority's life. */
interface AuthorityAct {
  /** Of the bundle that is the first without it, or with it. */
  readonly bundleSequence?: number;
  /** An operator did it though somebody still depended on it, or did not trust it yet. */
  readonly forced?: true;
  /** How many holders that were, as far as they were counted. */
  readonly holdersAffected?: number;
}

/** Who did it: `system`, `token:<id>`, `join-token:<id>`, `spiffe://...`, `anonymous`. */
export type Actor = string;

/** The exact bytes that are hashed into the tree, as text: JSON with `time`, `actor`, then the event's members. */
export function encodeEntry(event: AuditEvent, actor: Actor, timeMs: number): string {
  return `{"time":"${isoTime(timeMs)}","actor":${JSON.stringify(actor)},${JSON.stringify(event).slice(1)}`;
}

const isoTime = isoTimes();

/** An entry as it is read back. */
export type RecordedEvent = AuditEvent & { readonly time: string; readonly actor: Actor };

/**
 * Reads an entry's text back. Only its type is looked at: the rest is as trustworthy as the log it comes from.
 * @returns undefined for a text that is no entry of ours
 */
export function decodeEntry(body: string): RecordedEvent | undefined {
  try {
    const entry: unknown = JSON.parse(body);
    return typeof entry === "object" && entry !== null && "type" in entry && typeof entry.type === "string" ? (entry as RecordedEvent) : undefined;
  } catch {
    return undefined;
  }
}
