import type { HeldBundle } from "./acknowledgements.ts";
import type { Attestation, AttestationMethod } from "./attestation.ts";
import type { RevocationReason } from "./revocations.ts";

export interface IssueRequest extends Partial<HeldBundle> {
  /** PKCS#10, PEM or base64 DER. Only its key is used; the names come from the attestation. */
  readonly csr: string;
  readonly attestation: Attestation;
  /** Asked-for lifetime in seconds; default and ceiling are the profile's. */
  readonly lifetimeSeconds?: number;
}

export interface IssuedCertificate {
  /** Lower-case hex. */
  readonly serialNumber: string;
  readonly spiffeId: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** PEM: the certificate, then its issuer; the root is in the bundle, not here. */
  readonly chain: string;
  /** SPIFFE bundles (JWK Sets) by trust domain name. */
  readonly bundles: Readonly<Record<string, unknown>>;
  /** Sequence of the own trust domain's bundle; a decimal string, 64 bits. */
  readonly bundleSequence: string;
  readonly feedEpoch: string;
  /** Index of this issuance in the audit log. */
  readonly logIndex: number;
}

export type CertificateStatus = "valid" | "expired" | "revoked";

export interface CertificateSummary {
  readonly serialNumber: string;
  readonly spiffeId: string;
  readonly dnsNames: readonly string[];
  readonly notBefore: string;
  readonly notAfter: string;
  readonly authorityId: string;
  readonly attestation: AttestationMethod;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
  readonly status: CertificateStatus;
  readonly revokedAt?: string;
  readonly revocationReason?: RevocationReason;
  readonly logIndex: number;
}

/** One certificate in full; with `Accept: application/x-pem-file` the answer is `chain` alone. */
export type CertificateDetail = CertificateSummary & {
  /** PEM: the certificate, then its issuer. */
  readonly chain: string;
};

/** `GET /v1/certificates`, newest first. */
export interface CertificatePage {
  readonly certificates: readonly CertificateSummary[];
  /** Opaque: the `cursor` of the next page; absent on the last one. */
  readonly nextCursor?: string;
}
