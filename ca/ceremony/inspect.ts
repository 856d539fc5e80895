import { createPublicKey, hash } from "node:crypto";
import { signRoot } from "../authority/create.ts";
import { AuthorityError } from "../authority/errors.ts";
import { checkRoot, readRoot } from "../authority/import-root.ts";
import { describeName } from "../pki/name-text.ts";
import { signCertificate } from "../issuance/sign.ts";
import { lintCertificate } from "../lint/certificate.ts";
import type { Linted } from "../lint/rule.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { parseCrl, parseTbsCrl, revokedCertificatesOf, verifyCrl } from "../pki/crl.ts";
import { PkiError } from "../pki/errors.ts";
import { signatureAlgorithmFor, verifySignature, type KeyAlgorithm } from "../pki/key.ts";
import { validatePath } from "../pki/path.ts";
import { encodeCertificate } from "../pki/tbs.ts";
import { Refusal } from "../refusal.ts";
import { signCrl } from "../revocation/crl-publisher.ts";
import { lintCrl } from "../lint/crl.ts";
import type { Signer } from "../signer/signer.ts";
import { CeremonyError } from "./errors.ts";
import { possessionStatement, type CeremonyRequest } from "./request.ts";

/** A request that was found to ask for what such a request may ask for, and nothing else. */
export interface InspectedRequest {
  /** What signing it does, in plain words. */
  readonly shown: readonly string[];
  /** Whose key must sign; undefined for a new root. */
  readonly signer: Certificate | undefined;
  /**
   * Signs and verifies what came of it.
   * @throws {CeremonyError} key_mismatch
   * @throws {SignerError}
   */
  sign(signer: Signer): Promise<Signed>;
}

/** What a ceremony brought forth. */
export interface Signed {
  readonly label: "CERTIFICATE" | "X509 CRL";
  readonly der: Uint8Array;
}

/**
 * Judges a request before anybody is asked to confirm it: lint, path length, trust domain, lifetime, proof of possession.
 * @throws {CeremonyError} request_refused
 */
export async function inspectRequest(request: CeremonyRequest, nowMs: number): Promise<InspectedRequest> {
  try {
    if (request.kind === "root") return inspectRoot(request, nowMs);
    return await (request.kind === "root-crl" ? inspectCrl(request, nowMs) : inspectTbs(request, nowMs));
  } catch (cause) {
    if (cause instanceof PkiError || cause instanceof AuthorityError || cause instanceof Refusal) throw refused(cause.message, cause);
    throw cause;
  }
}

type RootRequest = Extract<CeremonyRequest, { readonly kind: "root" }>;

function inspectRoot({ trustDomain, lifetimeSeconds, createdAt }: RootRequest, nowMs: number): InspectedRequest {
  const lifetimeMs = lifetimeSeconds * 1000;
  if (!Number.isSafeInteger(lifetimeSeconds) || lifetimeMs < minLifetimeMs || lifetimeMs > maxRootLifetimeMs) {
    throw refused("a root's lifetime is between 1 day and 30 years");
  }
  return {
    signer: undefined,
    shown: [
      `Make a root for the trust domain ${trustDomain}, signed by its own key.`,
      "  It may   sign every identity of that trust domain, and every authority below it.",
      `  From     ${day(nowMs)} by this machine's clock, until ${day(nowMs + lifetimeMs)}.`,
      `  Asked    ${createdAt}`,
    ],
    async sign(signer) {
      const { der } = await signRoot({ trustDomain, keyAlgorithm: "ec-p256", lifetimeMs, clockSkewMs, nowMs }, signer);
      return { label: "CERTIFICATE", der };
    },
  };
}

type CrlRequest = Extract<CeremonyRequest, { readonly kind: "root-crl" }>;

async function inspectCrl({ signer: pem, tbs: encoded, trustDomain, createdAt }: CrlRequest, nowMs: number): Promise<InspectedRequest> {
  const root = readRoot(pem);
  checkRoot(root, nowMs);
  requireTrustDomain(root, trustDomain, "the root");
  const tbs = Buffer.from(encoded, "base64");
  const { number, thisUpdateMs, nextUpdateMs, ...rest } = parseTbsCrl(tbs);
  if (nextUpdateMs <= nowMs || nextUpdateMs - thisUpdateMs > maxCrlLifetimeMs) {
    throw refused("a CRL is good for a time from now on, a year at most");
  }
  const revoked = [...revokedCertificatesOf(rest)].map(({ serialNumber }) => serialNumber);
  const scope = { only: "authorities" } as const;
  const linted = await lintCrl(tbs, { issuer: root, number: Number(number), thisUpdateMs, nextUpdateMs, scope, count: revoked.length });
  return {
    signer: root,
    shown: [
      `Sign the root's CRL for the trust domain ${trustDomain}, number ${number}.`,
      `  Revokes  ${revoked.length === 0 ? "no authority" : `${revoked.length} authorities that the root certified:`}`,
      ...revoked.slice(0, maxShown).map((serialNumber) => `           ${serialNumber}`),
      ...(revoked.length > maxShown ? [`           and ${revoked.length - maxShown} more`] : []),
      `  From     ${day(thisUpdateMs)} until ${day(nextUpdateMs)}.`,
      `  Signs    ${printable(describeName(root.subject))}`,
      `           SHA-256 ${root.fingerprint}`,
      `  Asked    ${createdAt}`,
    ],
    async sign(signer) {
      requireKeyOf(root, signer);
      const { der } = await signCrl(signer, linted);
      verifyCrl(parseCrl(der), { issuer: root, nowMs, of: "authorities" });
      return { label: "X509 CRL", der };
    },
  };
}

type TbsRequest = Exclude<CeremonyRequest, { readonly kind: "root" | "root-crl" }>;

function inspectTbs(request: TbsRequest, nowMs: number): InspectedRequest {
  const root = readRoot(request.signer);
  checkRoot(root, nowMs);
  requireTrustDomain(root, request.trustDomain, "the root");
  const signatureAlgorithm = signatureAlgorithmFor(root.keyAlgorithm);
  const tbs = Buffer.from(request.tbs, "base64");
  const wanted = parseCertificate(encodeCertificate(tbs, signatureAlgorithm, noSignature));
  const limits = {
    lifetimeMaxMs: request.kind === "intermediate" ? maxIntermediateLifetimeMs : maxRootLifetimeMs, clockSkewMs, keyAlgorithms,
    names: { dnsNames: undefined, ipRanges: undefined },
  };
  const kind = request.kind === "intermediate" ? "intermediate" : "cross";
  const linted = lintCertificate(tbs, { kind, signatureAlgorithm, issuer: root, trustDomain: request.trustDomain, limits });
  requireTrustDomain(wanted, request.trustDomain, "the certificate");
  if (wanted.notAfterMs <= nowMs) throw refused("what it asks for has ended already; is this machine's clock right?");
  const shown = request.kind === "intermediate" ? showIntermediate(request, tbs, wanted) : showCross(request, wanted, nowMs);
  return {
    signer: root,
    shown: [
      ...shown,
      `  From     ${day(wanted.notBeforeMs)} until ${day(wanted.notAfterMs)}.`,
      `  Signs    ${printable(describeName(root.subject))}`,
      `           SHA-256 ${root.fingerprint}`,
      `  Asked    ${request.createdAt}`,
    ],
    sign: (signer) => signTbs(signer, root, linted, nowMs),
  };
}

function showIntermediate(
  { trustDomain, proof, key }: Extract<TbsRequest, { readonly kind: "intermediate" }>, tbs: Uint8Array, wanted: Certificate,
): readonly string[] {
  if (wanted.basicConstraints?.pathLength !== 1) {
    throw refused("an intermediate has the path length 1: issuers below it, and no authority below them");
  }
  const publicKey = createPublicKey({ key: Buffer.from(wanted.spki), format: "der", type: "spki" });
  if (!verifySignature(signatureAlgorithmFor(wanted.keyAlgorithm), publicKey, possessionStatement(tbs), Buffer.from(proof, "base64"))) {
    throw refused("whoever asks did not show that they hold the intermediate's key");
  }
  const where = key.kind === "sealed" ? "sealed in the CA's store" : key.kind === "kms" ? `in AWS KMS, ${key.keyId}` : `on a token, ${key.uri}`;
  return [
    `Certify an intermediate of the trust domain ${trustDomain}.`,
    "  It may   sign issuers, and these every identity of that trust domain, without this key.",
    `  Name     ${printable(describeName(wanted.subject))}`,
    `  Key      ${wanted.keyAlgorithm}, ${where}`,
    `           SHA-256 ${hash("sha256", wanted.spki, "hex")}`,
  ];
}

function showCross(
  { root: pem }: Extract<TbsRequest, { readonly kind: "cross-certificate" }>, wanted: Certificate, nowMs: number,
): readonly string[] {
  const root = readRoot(pem);
  checkRoot(root, nowMs);
  const same = Buffer.compare(root.spki, wanted.spki) === 0 && Buffer.compare(root.subject, wanted.subject) === 0;
  if (!same) throw refused("the certificate it asks for is not of the new root's name and key");
  if (wanted.notAfterMs > root.notAfterMs) throw refused("the cross certificate would outlive the new root");
  return [
    "Let the old root vouch for the new one, for software that knows only the old one.",
    "  It may   do all that the old root may, until both are withdrawn.",
    `  New root ${printable(describeName(root.subject))}`,
    `           SHA-256 ${root.fingerprint}`,
  ];
}

async function signTbs(signer: Signer, root: Certificate, tbs: Linted<"certificate">, nowMs: number): Promise<Signed> {
  requireKeyOf(root, signer);
  const certificate = parseCertificate(await signCertificate(signer, tbs, signatureAlgorithmFor(signer.keyAlgorithm)));
  validatePath({ leaf: certificate, intermediates: [], anchors: [root], nowMs });
  return { label: "CERTIFICATE", der: certificate.der };
}

function requireKeyOf(root: Certificate, signer: Signer): void {
  if (Buffer.compare(signer.spki, root.spki) !== 0) {
    throw new CeremonyError(
      "key_mismatch", `the key given is not that of the root which is to sign (SHA-256 ${root.fingerprint}); give the key of that root`,
    );
  }
}

function requireTrustDomain({ subjectAltName }: Certificate, trustDomain: string, what: string): void {
  if (subjectAltName?.uris.every((uri) => uri === `spiffe://${trustDomain}`) ?? true) return;
  throw refused(`${what} is not of the trust domain ${trustDomain}`);
}

/** Names come from certificates, which anybody may have made: nothing in them may move a terminal's cursor. */
function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, "?");
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16).replace("T", " ");
}

function refused(detail: string, cause?: unknown): CeremonyError {
  return new CeremonyError("request_refused", `the request is refused and nothing was signed: ${detail}`, { cause });
}

const clockSkewMs = 20_000;
const dayMs = 86_400_000;
const minLifetimeMs = dayMs;
const maxRootLifetimeMs = 30 * 366 * dayMs;
const maxCrlLifetimeMs = 366 * dayMs;
/** More on a screen nobody reads. */
const maxShown = 20;
const maxIntermediateLifetimeMs = 5 * 366 * dayMs;
const keyAlgorithms: readonly KeyAlgorithm[] = ["ec-p256", "ec-p384", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096"];
const noSignature = new Uint8Array(64);
