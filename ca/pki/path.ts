import { nameConstraintFault } from "./name-constraints.ts";
import type { Certificate } from "./certificate.ts";
import { PkiError, type PkiErrorCode } from "./errors.ts";
import { verifySignature } from "./key.ts";

declare const validated: unique symbol;

/** A path that `validatePath` accepted; nothing else makes one. */
export interface ValidatedPath {
  /** End entity first, anchor last. */
  readonly certificates: readonly Certificate[];
  /** The earliest notAfter on the path, milliseconds since the epoch. */
  readonly validUntilMs: number;
  readonly [validated]: true;
}

export interface PathRequest {
  readonly leaf: Certificate;
  /** Candidates in any order; those that lead nowhere do no harm. */
  readonly intermediates: readonly Certificate[];
  /** Certificates trusted as they are. Their own signature is not looked at. */
  readonly anchors: readonly Certificate[];
  /** Now, milliseconds since the epoch. */
  readonly nowMs: number;
  /** OID that each certificate with an extended key usage must list. Default: not asked. */
  readonly extendedKeyUsage?: string;
  /** Most intermediates between leaf and anchor, self-issued ones not counted. Default 6. */
  readonly maxIntermediates?: number;
  readonly budget?: PathBudget;
}

/** How much work one search may do. */
export interface PathBudget {
  readonly signatureChecks: number;
  /** Certificates considered as an issuer. */
  readonly candidates: number;
  readonly nameComparisons: number;
}

/**
 * Finds a valid path from the leaf to an anchor, trying alternatives until one holds or the budget is spent.
 *
 * Choices RFC 5280 leaves open: an anchor is a full certificate, so its dates, path length, key usage, extended key usage and
 * name constraints count, while who issued it does not. A leaf is never its own anchor. No path may demand policies
 * (`readExtensions`). The clock counts in whole seconds, as the dates in certificates do. Key identifiers must be there
 * (4.2.1.1, 4.2.1.2) and fit. Extended key usage nests: an issuer that has one bounds what is below.
 * @throws {PkiError} path_* | certificate_extension_invalid | public_key_invalid, of the candidate that came furthest
 * @source RFC 5280 section 6.1, RFC 4158
 */
export function validatePath(request: PathRequest): ValidatedPath {
  const { leaf, anchors, nowMs, extendedKeyUsage } = request;
  const leafFault = validityFault(leaf, nowMs) ?? extendedKeyUsageFault(leaf, extendedKeyUsage) ?? leafProfileFault(leaf);
  if (leafFault !== undefined) throw faultError(leafFault, "the end entity certificate");
  const search = newSearch(request);
  const anchored = new Set(anchors.map(({ fingerprint }) => fingerprint));
  const candidates: Candidate[] = [
    ...anchors.map((certificate) => ({ certificate, anchor: true })),
    ...request.intermediates
      .filter(({ fingerprint }) => !anchored.has(fingerprint)).map((certificate) => ({ certificate, anchor: false })),
  ];
  const certificates = extend([leaf], candidates, search);
  if (certificates === undefined) throw faultError(search.worst.code, search.worst.where);
  const validUntilMs = Math.min(...certificates.map(({ notAfterMs }) => notAfterMs));
  return { certificates, validUntilMs } as unknown as ValidatedPath;
}

/** Depth first: the first issuer that is valid here and leads to an anchor. */
function extend(path: Path, candidates: readonly Candidate[], search: Search): Path | undefined {
  const subject = path[path.length - 1]!;
  for (const { certificate, anchor } of candidates) {
    search.spend("candidates", 1);
    if (!sameBytes(certificate.subject, subject.issuer) || path.some((below) => sameEntity(below, certificate))) continue;
    const fault = issuerFault(certificate, anchor, path, search);
    if (fault !== undefined) {
      search.note(fault, path.length, certificate);
      continue;
    }
    const extended = [...path, certificate];
    const found = anchor ? extended : extend(extended, candidates, search);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What keeps `issuer` from standing above `path`: cheap questions first, then the signature, then constraints of any size. */
function issuerFault(issuer: Certificate, anchor: boolean, path: Path, search: Search): PkiErrorCode | undefined {
  const { nowMs, extendedKeyUsage, maxIntermediates = defaultMaxIntermediates } = search.request;
  const subject = path[path.length - 1]!;
  const between = path.slice(1).filter((certificate) => !selfIssued(certificate)).length;
  return keyIdentifierFault(issuer, subject)
    ?? authorityFault(issuer)
    ?? validityFault(issuer, nowMs)
    ?? (between > (issuer.basicConstraints?.pathLength ?? Infinity) ? "path_length_exceeded" : undefined)
    ?? (!anchor && !selfIssued(issuer) && between + 1 > maxIntermediates ? "path_too_long" : undefined)
    ?? extendedKeyUsageFault(issuer, extendedKeyUsage)
    ?? signatureFault(issuer, subject, search)
    ?? constraintsFault(issuer, path, search);
}

function keyIdentifierFault(issuer: Certificate, subject: Certificate): PkiErrorCode | undefined {
  const [wanted, present] = [subject.authorityKeyIdentifier, issuer.subjectKeyIdentifier];
  const fit = wanted !== undefined && present !== undefined && sameBytes(wanted, present);
  return fit ? undefined : "path_key_identifier_mismatch";
}

function authorityFault({ basicConstraints, keyUsage }: Certificate): PkiErrorCode | undefined {
  // RFC 5280 4.2.1.9: critical in CA certificates.
  if (basicConstraints?.certificateAuthority !== true || !basicConstraints.critical) return "path_issuer_not_ca";
  // RFC 5280 4.2.1.3: CA certificates have a key usage, so none is no permission.
  return keyUsage?.keyCertSign === true ? undefined : "path_issuer_key_usage";
}

/** RFC 5280 4.2.1.3, 4.2.1.9: keyCertSign goes with cA. Of the leaf; whoever stands above must have both. */
function leafProfileFault({ basicConstraints, keyUsage }: Certificate): PkiErrorCode | undefined {
  const authority = basicConstraints?.certificateAuthority === true;
  return keyUsage !== undefined && keyUsage.keyCertSign !== authority ? "certificate_extension_invalid" : undefined;
}

function validityFault({ notBeforeMs, notAfterMs }: Certificate, nowMs: number): PkiErrorCode | undefined {
  const secondMs = Math.floor(nowMs / 1000) * 1000;
  // Positive form, so that a clock that is not a number is outside.
  if (!(secondMs >= notBeforeMs)) return "path_not_yet_valid";
  return secondMs <= notAfterMs ? undefined : "path_expired";
}

function extendedKeyUsageFault({ extendedKeyUsage }: Certificate, wanted: string | undefined): PkiErrorCode | undefined {
  return wanted === undefined || extendedKeyUsage === undefined || extendedKeyUsage.purposes.includes(wanted)
    ? undefined : "path_extended_key_usage";
}

/** RFC 5280 6.1.3 (b): self-issued certificates are exempt, unless they are the end entity. */
function constraintsFault({ nameConstraints }: Certificate, path: Path, search: Search): PkiErrorCode | undefined {
  if (nameConstraints === undefined) return undefined;
  for (const [depth, certificate] of path.entries()) {
    if (depth > 0 && selfIssued(certificate)) continue;
    const fault = nameConstraintFault(nameConstraints, certificate, (count) => search.spend("nameComparisons", count));
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function signatureFault(issuer: Certificate, subject: Certificate, search: Search): PkiErrorCode | undefined {
  const pair = `${issuer.fingerprint} ${subject.fingerprint}`;
  if (!search.signatures.has(pair)) {
    search.spend("signatureChecks", 1);
    search.signatures.set(pair, checkSignature(issuer, subject));
  }
  return search.signatures.get(pair);
}

function checkSignature(issuer: Certificate, subject: Certificate): PkiErrorCode | undefined {
  try {
    const valid = verifySignature(subject.signatureAlgorithm, issuer.publicKey, subject.tbs, subject.signature);
    return valid ? undefined : "path_signature_invalid";
  } catch (error) {
    if (error instanceof PkiError) return error.code;
    throw error;
  }
}

function selfIssued({ issuer, subject }: Certificate): boolean {
  return sameBytes(issuer, subject);
}

/** RFC 4158 5.2: the same name with the same key twice on a path is a loop. */
function sameEntity(one: Certificate, other: Certificate): boolean {
  return sameBytes(one.subject, other.subject) && sameBytes(one.spki, other.spki);
}

function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

/** End entity first. */
type Path = readonly Certificate[];

interface Candidate {
  readonly certificate: Certificate;
  readonly anchor: boolean;
}

interface Search {
  readonly request: PathRequest;
  /** Signatures checked so far; undefined is a valid one. */
  readonly signatures: Map<string, PkiErrorCode | undefined>;
  /** The fault that the search came furthest with. */
  worst: { readonly code: PkiErrorCode; readonly where: string; readonly progress: number };
  note(code: PkiErrorCode, depth: number, issuer: Certificate): void;
  spend(what: keyof PathBudget, amount: number): void;
}

function newSearch(request: PathRequest): Search {
  const left = { ...(request.budget ?? defaultBudget) };
  return {
    request,
    signatures: new Map(),
    worst: { code: "path_not_found", where: "the end entity certificate", progress: -1 },
    note(code, depth, issuer) {
      const progress = depth * faultOrder.length + faultOrder.indexOf(code);
      if (progress <= this.worst.progress) return;
      this.worst = { code, where: `the issuer at depth ${depth}, serial number ${issuer.serialNumber}`, progress };
    },
    spend(what, amount) {
      left[what] -= amount;
      if (left[what] < 0) throw new PkiError("path_budget_exceeded", `no path found within the limit of ${what}`);
    },
  };
}

function faultError(code: PkiErrorCode, where: string): PkiError {
  return new PkiError(code, `${sentences[code] ?? "the certificate is not valid in a path"}: ${where}`);
}

/** In the order of the questions in `issuerFault`: whoever fails a later one came further. */
const faultOrder: readonly PkiErrorCode[] = [
  "path_key_identifier_mismatch", "path_issuer_not_ca", "path_issuer_key_usage", "path_not_yet_valid",
  "path_expired", "path_length_exceeded", "path_too_long", "path_extended_key_usage", "public_key_invalid", "path_signature_invalid",
  "path_name_constraint_unsupported", "path_name_constraint_violated",
];

const sentences: Partial<Record<PkiErrorCode, string>> = {
  path_not_found: "no trusted certificate issued this chain; is its trust anchor in the bundle?",
  path_key_identifier_mismatch: "authority and subject key identifier are missing or do not fit",
  path_issuer_not_ca: "not a CA: basicConstraints must be critical and say cA",
  path_issuer_key_usage: "the key usage does not allow to sign certificates",
  certificate_extension_invalid: "keyUsage keyCertSign and basicConstraints cA contradict each other",
  path_not_yet_valid: "not valid yet; are the clocks right?",
  path_expired: "expired",
  path_length_exceeded: "more intermediates below than its pathLenConstraint allows",
  path_too_long: "more intermediates than are accepted",
  path_extended_key_usage: "the extended key usage does not include the purpose asked for",
  path_name_constraint_unsupported: "it constrains a kind of name that cannot be checked",
  path_name_constraint_violated: "its name constraints do not allow a name below",
  public_key_invalid: "the public key is not valid",
  path_signature_invalid: "its key did not make the signature on the certificate below",
};

/** Root, intermediate, issuer, leaf is what we make; federated PKIs with cross-certificates add one or two. */
const defaultMaxIntermediates = 6;
/** Signatures and comparisons: the numbers of rustls-webpki (`src/verify_cert.rs`, Budget). Candidates: some ms of comparing. */
const defaultBudget: PathBudget = { signatureChecks: 100, candidates: 20_000, nameComparisons: 250_000 };
