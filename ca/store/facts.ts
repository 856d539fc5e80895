import type { AuthorityFact } from "./plan-authorities.ts";
import { toBuffer } from "./row-columns.ts";
import type { CertificateRow } from "./rows/certificates.ts";
import type { TokenRow } from "./rows/tokens.ts";

/**
 * What the acts of a group may ask of the database, answered from inside the transaction that holds the writer lock: no other
 * writer can make an answer stale.
 */
export interface Facts {
  readonly initialized: boolean;
  certificate(serialNumber: string): CertificateFact | undefined;
  /** Certificates for the ID that were issued after this one, oldest first, at most `maxLaterCertificates`. */
  issuedAfter(serialNumber: string, spiffeId: string): readonly LaterFact[];
  keyUsed(keyFingerprint: Uint8Array): boolean;
  token(id: string): TokenFact | undefined;
  /** When the remembered key is forgotten, in ms; undefined for one that is free. */
  idempotencyKeyExpiry(scope: string, key: string): number | undefined;
  /** Those that are neither retired nor revoked: nothing changes the others any more. */
  authorities(): readonly AuthorityFact[];
  /** In whatever state. */
  authority(id: string): AuthorityFact | undefined;
  readonly bundleSequence: number | undefined;
  /** As `CaState` has it. */
  sealedLogKey(): Uint8Array | undefined;
  /** Whether a request to an offline key waits for its answer. */
  ceremonyOpen(id: string): boolean;
  /** Of the newest change of any document, 0 when there is none. */
  documentSequence(): number;
  /** The token of a lease that is held by somebody, also when its time is over; undefined for one that nobody has. */
  leaseToken(name: string): number | undefined;
  /** Number of the list's newest CRL; undefined when it has none. */
  crlNumber(authorityId: string, list: string): number | undefined;
}

export type CertificateFact = Pick<CertificateRow, "notAfterMs" | "authorityId"> & { readonly revoked: boolean };
export type LaterFact = Pick<CertificateRow, "serialNumber" | "notAfterMs" | "authorityId" | "renewedFrom"> & { readonly revoked: boolean };
export type TokenFact = Pick<TokenRow, "version"> & { readonly deleted: boolean };

/** A key fingerprint as a member of a Set. */
export function nameOfKey(keyFingerprint: Uint8Array): string {
  return toBuffer(keyFingerprint).toString("latin1");
}

/**
 * Bounds how long a revocation holds the writer lock, some tenths of a second: reached by an ID of which 500 replicas renew
 * twice a day only after 100 days, and certificates that old are not revoked for their descendants' sake.
 */
export const maxLaterCertificates = 100_000;
