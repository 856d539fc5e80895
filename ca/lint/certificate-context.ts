import type { Certificate } from "../pki/certificate.ts";
import type { ExtKeyUsagePurpose, KeyUsageBit, RevocationInfo } from "../pki/extension-encoding.ts";
import type { KeyAlgorithm, SignatureAlgorithm } from "../pki/key.ts";
import type { PermittedNames } from "./permitted-names.ts";
import type { LintRule } from "./rule.ts";
import type { TbsView } from "./tbs-view.ts";

/** `issuer` is our own, `foreign-issuer` one for another CA; `cross` certifies a root of ours by another one; `jwt-key` a key that signs JWT-SVIDs, by itself. */
export type CertificateKind = "workload" | "api" | "ocsp-signer" | "jwt-key" | "issuer" | "foreign-issuer" | "intermediate" | "root" | "cross";

/** What a certificate is judged against, besides its own bytes. */
export interface CertificateContext {
  readonly kind: CertificateKind;
  /** What the signer signs with. */
  readonly signatureAlgorithm: SignatureAlgorithm;
  /** Who signs; undefined for what signs itself. */
  readonly issuer: IssuerFacts | undefined;
  /** The trust domain its SPIFFE ID is of; undefined for a CA of other software, which needs none. */
  readonly trustDomain: string | undefined;
  readonly limits: CertificateLimits;
  /** What the certificate was asked to say; undefined: not compared. */
  readonly meant?: MeantContent;
}

/** The part of an issuer's certificate that rules are about. */
export type IssuerFacts = Pick<
  Certificate,
  "subject" | "subjectKeyIdentifier" | "spki" | "notBeforeMs" | "notAfterMs" | "basicConstraints" | "keyUsage" | "nameConstraints"
>;

/** What the profile allows. */
export interface CertificateLimits {
  readonly lifetimeMaxMs: number;
  /** How far notBefore may lie before the moment of issuing; comes on top of the lifetime. */
  readonly clockSkewMs: number;
  readonly keyAlgorithms: readonly KeyAlgorithm[];
  readonly names: PermittedNames;
}

/** What was asked for, to be found again in the bytes. */
export interface MeantContent {
  /** Big-endian magnitude. */
  readonly serialNumber: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly spki: Uint8Array;
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly Uint8Array[];
  /** Whether DNS names come before URIs. */
  readonly dnsFirst?: boolean;
  readonly keyUsage: readonly KeyUsageBit[];
  readonly extKeyUsage: readonly ExtKeyUsagePurpose[];
  readonly revocationInfo: RevocationInfo;
}

export type CertificateRule = LintRule<TbsView, CertificateContext>;

export const leafKinds: readonly CertificateKind[] = ["workload", "api", "ocsp-signer", "jwt-key"];
export const selfSignedKinds: readonly CertificateKind[] = ["root", "jwt-key"];
export const authorityKinds: readonly CertificateKind[] = ["issuer", "foreign-issuer", "intermediate", "root", "cross"];

/** Every kind but these. */
export function allBut(...excluded: readonly CertificateKind[]): readonly CertificateKind[] {
  return [...leafKinds, ...authorityKinds].filter((kind) => !excluded.includes(kind));
}
