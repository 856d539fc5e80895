import { createPublicKey, randomBytes, type KeyObject } from "node:crypto";
import { authorityRevocationInfo } from "../issuance/revocation-info.ts";
import type { AuthorityType } from "../contract/authorities.ts";
import { lintCertificate } from "../lint/certificate.ts";
import type { CertificateKind } from "../lint/certificate-context.ts";
import type { Linted } from "../lint/rule.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import type { RevocationInfo } from "../pki/extension-encoding.ts";
import { describeSpki, signatureAlgorithmFor, subjectKeyIdentifier } from "../pki/key.ts";
import { encodeCertificate, encodeName, encodeTbs } from "../pki/tbs.ts";
import { generatePrivateKey, softwareSigner } from "../signer/software.ts";
import type { Signer } from "../signer/signer.ts";
import { AuthorityError } from "./errors.ts";

/** A CA key and its certificate, before they are sealed and stored. */
export interface NewAuthority {
  readonly certificate: Certificate;
  readonly privateKey: KeyObject;
}

export interface AuthorityRequest {
  readonly trustDomain: string;
  readonly keyAlgorithm: "ec-p256" | "ec-p384";
  readonly lifetimeMs: number;
  /** How far notBefore is set back. */
  readonly clockSkewMs: number;
  readonly nowMs: number;
  /** Where the root's CRL is published; an issuer's certificate says so. */
  readonly statusUrl?: string | undefined;
}

/** Makes a self-signed root, synchronously with a key in memory. */
export function createRoot(request: AuthorityRequest): NewAuthority {
  const privateKey = generatePrivateKey(request.keyAlgorithm);
  const signer = softwareSigner(privateKey);
  const tbs = rootTbs(request, signer);
  return { certificate: finish(tbs, signer, signer.sign(tbs)), privateKey };
}

/** Makes a self-signed root whose key is anywhere. */
export async function signRoot(request: AuthorityRequest, signer: Signer): Promise<Certificate> {
  const tbs = rootTbs(request, signer);
  return finish(tbs, signer, await signer.sign(tbs));
}

function rootTbs(request: AuthorityRequest, signer: Signer): Linted<"certificate"> {
  const subject = nameOf(request.trustDomain, "root");
  // No path length: a root that is to cross-sign its successor needs room for one more certificate below.
  return tbsOf(request, signer.spki, { kind: "root", signer, issuer: undefined, subject, basicConstraints: { certificateAuthority: true } });
}

/**
 * Makes an issuer, signed by the root.
 * @throws {AuthorityError} root_expired | root_expires_too_soon: an issuer's lifetime is never cut to fit
 */
export async function createIssuer(request: AuthorityRequest, root: { readonly certificate: Certificate; readonly signer: Signer }): Promise<NewAuthority> {
  checkRootLasts(root.certificate, request);
  const privateKey = generatePrivateKey(request.keyAlgorithm);
  const tbs = tbsOf(request, createPublicKey(privateKey).export({ format: "der", type: "spki" }), {
    kind: "issuer",
    signer: root.signer,
    issuer: root.certificate,
    subject: nameOf(request.trustDomain, "issuer"),
    basicConstraints: { certificateAuthority: true, pathLength: 0 },
    ...revocationInfoOf(request, root.certificate),
  });
  return { certificate: finish(tbs, root.signer, await root.signer.sign(tbs)), privateKey };
}

/**
 * What a root that is offline is asked to sign: an intermediate, with room for one more authority below it.
 * @throws {AuthorityError} root_expired | root_expires_too_soon
 * @throws {LintRefusal} lint_failed
 */
export function intermediateTbs(request: AuthorityRequest, spki: Uint8Array, root: Certificate): Linted<"certificate"> {
  checkRootLasts(root, request);
  return tbsOf(request, spki, {
    kind: "intermediate",
    signer: root,
    issuer: root,
    subject: nameOf(request.trustDomain, "intermediate"),
    basicConstraints: { certificateAuthority: true, pathLength: 1 },
    ...revocationInfoOf(request, root),
  });
}

/** Where the parent's CRL is, which lists what it revokes. */
function revocationInfoOf({ statusUrl }: AuthorityRequest, { subjectKeyIdentifier: id }: Certificate): Pick<Signing, "revocationInfo"> {
  return id === undefined || statusUrl === undefined ? {} : { revocationInfo: authorityRevocationInfo(Buffer.from(id).toString("hex"), statusUrl) };
}

/**
 * Refuses a root that would end before an issuer made now.
 * @throws {AuthorityError} root_expired | root_expires_too_soon
 */
export function checkRootLasts(root: Certificate, { nowMs, lifetimeMs }: Pick<AuthorityRequest, "nowMs" | "lifetimeMs">): void {
  const until = new Date(root.notAfterMs).toISOString();
  if (root.notAfterMs < nowMs) {
    throw new AuthorityError(
      "root_expired",
      `the root expired at ${until}; make or import another one`,
    );
  }
  if (root.notAfterMs < nowMs + lifetimeMs) {
    throw new AuthorityError(
      "root_expires_too_soon",
      `the root expires at ${until}, before an issuer made now would; replace the root, or shorten issuerLifetime`,
    );
  }
}

interface Signing {
  readonly kind: CertificateKind;
  readonly signer: Pick<Signer, "keyAlgorithm">;
  /** Undefined for a root, which signs itself. */
  readonly issuer: Certificate | undefined;
  readonly subject: Uint8Array;
  readonly basicConstraints: { readonly certificateAuthority: true; readonly pathLength?: number };
  readonly revocationInfo?: RevocationInfo;
}

/** @throws {LintRefusal} lint_failed */
function tbsOf({ trustDomain, keyAlgorithm, nowMs, clockSkewMs, lifetimeMs }: AuthorityRequest, spki: Uint8Array, signing: Signing): Linted<"certificate"> {
  const { kind, signer, issuer, subject, basicConstraints, revocationInfo } = signing;
  const signatureAlgorithm = signatureAlgorithmFor(signer.keyAlgorithm);
  const authorityKeyIdentifier = issuer?.subjectKeyIdentifier;
  const secondMs = Math.floor(nowMs / 1000) * 1000;
  const tbs = encodeTbs({
    serialNumber: serialOfAuthority(),
    signatureAlgorithm,
    issuer: issuer?.subject ?? subject,
    subject,
    notBeforeMs: Math.max(secondMs - clockSkewMs, issuer?.notBeforeMs ?? -Infinity),
    // RFC 5280 4.1.2.5: notAfter is inclusive.
    notAfterMs: secondMs + lifetimeMs - 1000,
    spki,
    extensions: {
      basicConstraints,
      keyUsage: ["keyCertSign", "crlSign"],
      ...(authorityKeyIdentifier && { authorityKeyIdentifier }),
      ...(revocationInfo && { revocationInfo }),
      subjectKeyIdentifier: subjectKeyIdentifier(spki),
      // X509-SVID 4.2: a signing certificate names its trust domain, without a path.
      subjectAltName: { uris: [`spiffe://${trustDomain}`] },
    },
  });
  const names = { dnsNames: undefined, ipRanges: undefined };
  const limits = { lifetimeMaxMs: lifetimeMs, clockSkewMs, keyAlgorithms: [kind === "issuer" ? keyAlgorithm : describeSpki(spki).keyAlgorithm], names };
  return lintCertificate(tbs, { kind, signatureAlgorithm, issuer, trustDomain, limits });
}

function finish(tbs: Linted<"certificate">, signer: Signer, signature: Uint8Array): Certificate {
  return parseCertificate(encodeCertificate(tbs, signatureAlgorithmFor(signer.keyAlgorithm), signature));
}

/** A number in each name, since two authorities with the same name lead other people's path builders astray (RFC 4158 2.4). */
export function nameOf(trustDomain: string, type: AuthorityType): Uint8Array {
  const commonName = `${trustDomain} ${type}`;
  return encodeName({
    organization: "Countersign",
    commonName: commonName.length <= maxCommonNameChars ? commonName : `trust domain ${type}`,
    serialNumber: randomBytes(nameNumberBytes).toString("hex"),
  });
}

/** Draws a serial number for an authority. */
export function serialOfAuthority(): Uint8Array {
  const serial = randomBytes(serialBytes);
  // As for workloads: never a leading zero octet.
  serial[0] = (serial[0] ?? 0) | 0x40;
  return serial;
}

const serialBytes = 17;
const nameNumberBytes = 8;
/** RFC 5280 appendix A.1, ub-common-name. */
const maxCommonNameChars = 64;
