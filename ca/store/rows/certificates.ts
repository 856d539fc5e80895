import type { AttestationMethod } from "../../contract/attestation.ts";
import type { RevocationReason } from "../../contract/revocations.ts";

export interface NewCertificate {
  /** 36 lower-case hex digits. */
  readonly serialNumber: string;
  readonly spiffeId: string;
  readonly dnsNames: readonly string[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly authorityId: string;
  readonly attestation: AttestationMethod;
  /** DER. */
  readonly certificate: Uint8Array;
  /** SHA-256 of the SPKI, 32 bytes: unique in the store (DESIGN promise 5). */
  readonly keyFingerprint: Uint8Array;
  readonly issuedAtMs: number;
  /** The join token it descends from, directly or through renewals: what ties a re-attestation to its holder. */
  readonly tokenId?: string;
  /** Name of the configured attestor that its line began with: it says whether, and as what, the line may go on. */
  readonly attestor?: string;
  /**
   * Serial number of the certificate whose key proved who asks, for a renewal or a return with a join token: the commit is
   * refused with certificate_revoked when that one is revoked by then.
   */
  readonly renewedFrom?: string;
  /** Sequence of the bundle that its holder has said to hold; absent for 0. */
  readonly acknowledgedSequence?: number;
}

export interface CertificateRow extends NewCertificate {
  readonly logIndex: number;
  readonly revokedAtMs?: number;
  readonly revocationReason?: RevocationReason;
  readonly revocationSequence?: number;
}

export type CertificateEnd = Pick<CertificateRow, "logIndex" | "issuedAtMs" | "notAfterMs">;

export interface CertificateQuery {
  readonly limit: number;
  /** Log index, where only revoked ones are asked for the sequence of a revocation: rows below it only. */
  readonly before?: number;
  /** Exact ID, or a prefix ending in `/*`. */
  readonly spiffeId?: string;
  /** Only IDs of these patterns, as `spiffeId` has them; of none, none. */
  readonly within?: readonly string[];
  readonly status?: "valid" | "expired" | "revoked";
  readonly expiresBeforeMs?: number;
  /** Only issuers signed for other CAs. */
  readonly issuersOnly?: boolean;
  /** The instant `status` is judged at. */
  readonly nowMs: number;
}

export interface IdempotentRow {
  readonly requestHash: string;
  readonly serialNumber: string;
  readonly expiresAtMs: number;
}
