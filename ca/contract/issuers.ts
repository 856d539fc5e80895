import type { CertificateStatus } from "./certificates.ts";
import type { RevocationReason } from "./revocations.ts";

/** Software that an issuer can be signed for; each wants its certificate a little different. */
export const issuerProfiles = ["countersign", "linkerd", "istio", "cert-manager"] as const;
export type IssuerProfile = (typeof issuerProfiles)[number];

/** `POST /v1/issuers`: a subordinate issuer for another CA, with path length 0. */
export interface IssueIssuerRequest {
  /** PKCS#10, PEM or base64 DER. Only its key is used. */
  readonly csr: string;
  readonly profile: IssuerProfile;
  /** The trust domain the other CA issues for; never this CA's own. */
  readonly trustDomain: string;
  /** Default 48 h; the ceiling is the CA's `foreignIssuerLifetimeMax`. */
  readonly lifetimeSeconds?: number;
  /** Whether it may issue URI names (SPIFFE IDs) of its trust domain only. Default: for `countersign` yes, otherwise no. */
  readonly uriConstraint?: boolean;
  /** Domains it may issue DNS names below. Default: `identity.linkerd.<trust domain>` for `linkerd`, otherwise any. */
  readonly dnsDomains?: readonly string[];
}

export interface IssuedIssuer {
  /** Lower-case hex. */
  readonly serialNumber: string;
  readonly trustDomain: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** PEM: the issuer, then what signed it unless that is a root. */
  readonly chain: string;
  /** PEM: the roots it chains to. */
  readonly anchors: string;
  readonly logIndex: number;
}

export interface IssuerSummary {
  readonly serialNumber: string;
  readonly trustDomain: string;
  readonly subject: string;
  readonly keyAlgorithm: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** Which root or intermediate signed it. */
  readonly authorityId: string;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
  readonly status: CertificateStatus;
  readonly revokedAt?: string;
  readonly revocationReason?: RevocationReason;
  readonly logIndex: number;
}

/** `GET /v1/issuers`, newest first. */
export interface IssuerPage {
  readonly issuers: readonly IssuerSummary[];
  /** Opaque: the `cursor` of the next page; absent on the last one. */
  readonly nextCursor?: string;
}
