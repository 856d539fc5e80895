import type { Bundle } from "./bundle.ts";
import { parseCertificate, type Certificate } from "./certificate.ts";
import { PkiError } from "./errors.ts";
import { extKeyUsageOid } from "./oid.ts";
import { validatePath, type PathBudget, type ValidatedPath } from "./path.ts";
import { parseSpiffeId, type SpiffeId } from "./spiffe-id.ts";

declare const verified: unique symbol;

/** An identity that `verifySvid` established; nothing else makes one. */
export interface VerifiedSvid {
  readonly id: SpiffeId;
  readonly leaf: Certificate;
  readonly path: ValidatedPath;
  /** The earliest notAfter on the path, milliseconds since the epoch. */
  readonly validUntilMs: number;
  /** Of the leaf, lower-case hex. */
  readonly serialNumber: string;
  /** SHA-256 of the leaf, lower-case hex. */
  readonly fingerprint: string;
  readonly [verified]: true;
}

export interface SvidRequest {
  /** DER as presented by the peer, leaf first; what follows may come in any order. At most 8. */
  readonly chain: readonly Uint8Array[];
  /** Trust domain name -> its bundle. Only the bundle of the domain in the leaf's ID is looked at. */
  readonly bundles: ReadonlyMap<string, Bundle>;
  /** Now, milliseconds since the epoch. */
  readonly nowMs: number;
  /** What the peer is in this connection. */
  readonly purpose: "client" | "server";
}

/**
 * Establishes who presented a certificate chain: reads the leaf's ID, then accepts only anchors of that ID's own trust domain.
 * Whether this identity may do anything is the caller's question.
 * @throws {PkiError} svid_* | spiffe_id_malformed | path_* | what parseCertificate throws
 * @source X509-SVID sections 2-5
 */
export function verifySvid({ chain, bundles, nowMs, purpose }: SvidRequest): VerifiedSvid {
  const [leafDer, ...intermediateDers] = chain;
  if (leafDer === undefined) throw new PkiError("svid_chain_empty", "the peer presented no certificate");
  if (chain.length > maxChainCertificates) {
    throw new PkiError("path_too_long", `the peer presented ${chain.length} certificates, the limit is ${maxChainCertificates}`);
  }
  const leaf = parseCertificate(leafDer);
  const id = readSpiffeId(leaf);
  checkLeaf(leaf, id);
  const bundle = bundles.get(id.trustDomain);
  // The bundle says whose it is as well: a map filled under the wrong key must not lend one domain another's anchors.
  if (bundle?.trustDomain !== id.trustDomain) {
    throw new PkiError("svid_trust_domain_unknown", `no bundle for trust domain ${id.trustDomain}; federate with it first`);
  }
  const path = validatePath({
    leaf, intermediates: intermediateDers.map(parseCertificate), anchors: bundle.x509Authorities, nowMs,
    extendedKeyUsage: purpose === "client" ? extKeyUsageOid.clientAuth : extKeyUsageOid.serverAuth,
    budget: { ...budget, candidates: budget.candidates + maxChainCertificates * bundle.x509Authorities.length },
  });
  const [, ...authorities] = path.certificates;
  authorities.forEach((authority, index) => checkSigningCertificate(authority, index === 0 ? id.trustDomain : undefined));
  const { serialNumber, fingerprint } = leaf;
  return { id, leaf, path, validUntilMs: path.validUntilMs, serialNumber, fingerprint } as unknown as VerifiedSvid;
}

/**
 * Reads the SPIFFE ID a certificate asserts; its signature is not checked here.
 * @returns the ID in its only URI SAN
 * @throws  {PkiError} svid_uri_san_count | spiffe_id_malformed
 * @source  X509-SVID section 2
 */
export function readSpiffeId(leaf: Certificate): SpiffeId {
  const uris = leaf.subjectAltName?.uris ?? [];
  const [uri] = uris;
  if (uri === undefined || uris.length !== 1) {
    throw new PkiError("svid_uri_san_count", `an SVID has exactly one URI among its names, this certificate ${uris.length}`);
  }
  return parseSpiffeId(uri);
}

/** X509-SVID 3.1, 4.1, 4.3, 4.4, 5.2. */
function checkLeaf({ basicConstraints, keyUsage, extendedKeyUsage }: Certificate, id: SpiffeId): void {
  if (id.path === "") {
    throw new PkiError("svid_id_without_path", "the ID names a trust domain, not a workload: it has no path");
  }
  if (basicConstraints?.certificateAuthority === true) {
    throw new PkiError("svid_leaf_is_ca", "a CA certificate identifies no workload");
  }
  if (keyUsage === undefined || !keyUsage.critical || !keyUsage.digitalSignature || keyUsage.keyCertSign || keyUsage.crlSign) {
    throw new PkiError("svid_key_usage", "an SVID has a critical key usage, with digitalSignature but not keyCertSign or cRLSign");
  }
  const purposes = extendedKeyUsage?.purposes;
  if (purposes !== undefined && !leafPurposes.every((purpose) => purposes.includes(purpose))) {
    throw new PkiError("svid_extended_key_usage", "the extended key usage of an SVID has both serverAuth and clientAuth");
  }
}

/**
 * X509-SVID 3.2, 4.3. A signing certificate need not have an ID; if it has one, it is that of a trust domain: the one that signed the
 * leaf has the leaf's. So an issuer that our root signed for another cluster vouches for nobody of ours.
 */
function checkSigningCertificate(authority: Certificate, trustDomain: string | undefined): void {
  if (authority.keyUsage?.critical !== true) {
    throw new PkiError("svid_key_usage", `the key usage of signing certificate ${authority.serialNumber} is not critical`);
  }
  const uris = authority.subjectAltName?.uris ?? [];
  if (!uris.some((uri) => /^spiffe:/i.test(uri))) return;
  const id = readSpiffeId(authority);
  if (id.path !== "") {
    throw new PkiError("svid_id_with_path", `the ID of signing certificate ${authority.serialNumber} names a workload`);
  }
  if (trustDomain !== undefined && id.trustDomain !== trustDomain) {
    throw new PkiError("svid_issuer_trust_domain", `signing certificate ${authority.serialNumber} is for trust domain ${id.trustDomain}, and the leaf is of ${trustDomain}`);
  }
}

const leafPurposes = [extKeyUsageOid.serverAuth, extKeyUsageOid.clientAuth];
/** Leaf and six intermediates, as `validatePath` allows, and the root that some servers send along. */
const maxChainCertificates = 8;
/**
 * A peer's chain is short, and anybody may send one: seven signatures are on the longest that is valid, the rest is for rotated and
 * cross-signed authorities. Our own anchors are looked at on each level besides. With the default budget a chain made for
 * it costs 40 ms of CPU.
 */
const budget: PathBudget = { signatureChecks: 12, candidates: 500, nameComparisons: 10_000 };
