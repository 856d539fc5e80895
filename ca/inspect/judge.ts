import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { lintFailures } from "../lint/certificate.ts";
import type { Bundle } from "../pki/bundle.ts";
import type { Certificate } from "../pki/certificate.ts";
import { verifyCrl } from "../pki/crl.ts";
import { PkiError, type PkiErrorCode } from "../pki/errors.ts";
import { validatePath } from "../pki/path.ts";
import { readSpiffeId, verifySvid } from "../pki/svid.ts";
import { advice } from "./advice.ts";
import { kindOf } from "./describe.ts";
import type { Contents, Item } from "./items.ts";
import { spanOf } from "./time-text.ts";

/** Whether something would be accepted, and why not. */
export interface Verdict {
  readonly status: "ok" | "warning" | "failed";
  /** What was found, with the reason. */
  readonly text: string;
  /** Of the refusal, as logs and metrics of proxies have it. */
  readonly code?: PkiErrorCode;
  /** What to do about it. */
  readonly advice?: string;
}

export interface JudgeOptions {
  /** Whom the user trusts; empty: nobody was named. */
  readonly anchors: readonly Certificate[];
  /** Of the anchors that do not say it themselves. Default: that of the certificate in question. */
  readonly trustDomain?: string | undefined;
  readonly nowMs: number;
  /** The name a client would compare with, for certificates that a server showed. */
  readonly host?: string | undefined;
}

/** Says of everything that was found whether the CA or a proxy would take it. */
export function judgeContents({ items, pemFault }: Contents, options: JudgeOptions): readonly Verdict[] {
  const certificates = certificatesIn(items);
  return [
    ...(pemFault === undefined ? [] : [refused("it is not PEM as RFC 7468 wants it", pemFault)]),
    ...items.flatMap((item) => unreadableVerdict(item)),
    ...judgeCertificates(certificates, options),
    ...items.flatMap((item) => judgeOther(item, certificates, options)),
  ];
}

/** The certificate that the verdict on a chain is about; undefined where there is none but of authorities. */
export function workloadIn({ items }: Contents): Certificate | undefined {
  return leafOf(certificatesIn(items));
}

const certificatesIn = (items: readonly Item[]): readonly Certificate[] =>
  items.flatMap((item) => (item.kind === "certificate" && !(item.read instanceof PkiError) ? [item.read] : []));
const leafOf = (certificates: readonly Certificate[]): Certificate | undefined => certificates.find((certificate) => !isAuthority(certificate));

function unreadableVerdict(item: Item): readonly Verdict[] {
  if (item.kind === "unknown") return [{ status: "failed", text: `nothing here reads it: ${item.what}` }];
  return "read" in item && item.read instanceof PkiError ? [refused(`the ${item.kind} is refused as it is read`, item.read)] : [];
}

function judgeCertificates(certificates: readonly Certificate[], options: JudgeOptions): readonly Verdict[] {
  const leaf = leafOf(certificates);
  if (leaf !== undefined) return judgeLeaf(leaf, certificates.filter((other) => other !== leaf), options);
  return certificates.flatMap((authority) => judgeAuthority(authority, certificates, options));
}

function judgeLeaf(leaf: Certificate, others: readonly Certificate[], options: JudgeOptions): readonly Verdict[] {
  const { anchors, nowMs, host } = options;
  const shown = others.filter((certificate) => kindOf(certificate) === "root");
  const trusted = anchors.length > 0 ? anchors : shown;
  const verify = (atMs: number): PkiError | undefined => faultOf(() => {
    verifySvid({ chain: [leaf, ...others].map(({ der }) => der), bundles: bundlesOf(trusted, leaf, options.trustDomain), nowMs: atMs, purpose: "server" });
  });
  const fault = verify(nowMs);
  const whom = anchors.length > 0 ? "a proxy that trusts your bundle" : "who trusts the root in it";
  const verdicts: Verdict[] = [];
  if (fault === undefined) verdicts.push({ status: "ok", text: `${whom} takes it as ${readSpiffeId(leaf).uri}` });
  else if (trusted.length === 0 && (fault.code === "path_not_found" || fault.code === "svid_trust_domain_unknown")) verdicts.push(nobodyTrusted);
  else verdicts.push(refused(`${anchors.length > 0 ? whom : "a proxy"} refuses it`, fault));
  if (fault !== undefined && timeFaults.includes(fault.code)) {
    const when = Math.max(leaf.notBeforeMs, ...others.map(({ notBeforeMs }) => notBeforeMs));
    const earlier = verify(Math.max(when, leaf.notBeforeMs));
    if (earlier !== undefined && !timeFaults.includes(earlier.code) && trusted.length > 0) verdicts.push(refused("and when it was valid it was refused as well", earlier));
  }
  if (fault === undefined && anchors.length === 0) verdicts.push({ ...nobodyTrusted, text: "the root came with it, which proves nothing" });
  return [...verdicts, ...hostVerdict(leaf, host), ...lateVerdict(leaf, nowMs), ...lintVerdicts(leaf, [...others, ...anchors])];
}

/** A certificate of a CA: whether what it signs can be accepted. */
function judgeAuthority(authority: Certificate, others: readonly Certificate[], { anchors, nowMs }: JudgeOptions): readonly Verdict[] {
  const subject = `certificate ${authority.serialNumber.slice(0, 12)}`;
  if (kindOf(authority) === "root") {
    const trusted = anchors.some(({ fingerprint }) => fingerprint === authority.fingerprint);
    if (nowMs >= authority.notAfterMs + 1000) return [refused(`${subject} vouches for nobody any more`, new PkiError("path_expired", "expired"))];
    if (nowMs < authority.notBeforeMs) return [refused(`${subject} vouches for nobody yet`, new PkiError("path_not_yet_valid", "not valid yet"))];
    if (trusted) return [{ status: "ok", text: `${subject} is a root that this bundle trusts` }];
    if (anchors.length === 0) return [{ status: "warning", text: `${subject} is a root; nothing in it says that it may be trusted`, advice: "compare its SHA-256 with what the CA's operator reads out: countersign authority list" }];
    return [{ status: "failed", text: `${subject} is a root, and not one of those that are trusted`, advice: advice.path_not_found! }];
  }
  const trusted = anchors.length > 0 ? anchors : others.filter((other) => kindOf(other) === "root");
  if (trusted.length === 0) return [{ ...nobodyTrusted, text: `${subject}: ${nobodyTrusted.text}` }];
  const fault = faultOf(() => void validatePath({ leaf: authority, intermediates: others.filter((other) => other !== authority), anchors: trusted, nowMs }));
  return fault === undefined
    ? [{ status: "ok", text: `${subject} leads to a root ${anchors.length > 0 ? "that is trusted" : "in the file"}` }, ...lateVerdict(authority, nowMs)]
    : [refused(`what ${subject} signs is refused`, fault)];
}

function judgeOther(item: Item, certificates: readonly Certificate[], { anchors, nowMs }: JudgeOptions): readonly Verdict[] {
  if (item.kind === "private key" && item.spki !== undefined && certificates[0] !== undefined) {
    const fits = certificates.some(({ spki }) => Buffer.compare(spki, item.spki!) === 0);
    return [fits ? { status: "ok", text: "the private key is that of a certificate beside it" }
      : { status: "failed", text: "the private key belongs to none of the certificates beside it", advice: "find the key that was made with the request, or have a new certificate issued" }];
  }
  if (item.kind === "request" && !(item.read instanceof PkiError)) return [{ status: "ok", text: "it is signed by the key it is for, and the key is of a kind that is certified" }];
  if (item.kind === "crl" && !(item.read instanceof PkiError)) {
    const crl = item.read;
    const issuer = [...certificates, ...anchors].find(({ subject, subjectKeyIdentifier }) => Buffer.compare(subject, crl.issuer) === 0 && Buffer.compare(subjectKeyIdentifier ?? nothing, crl.authorityKeyIdentifier) === 0);
    if (issuer === undefined) {
      return [crl.nextUpdateMs <= nowMs ? refused("it is refused", new PkiError("crl_expired", "the CRL is stale: there should be a newer one")) : { status: "warning", text: "whether its signature holds cannot be said without its issuer's certificate", advice: "put that into the file as well, or name it with --bundle" }];
    }
    const of = crl.scope.onlyAuthorities ? "authorities" : "end-entities";
    const fault = faultOf(() => verifyCrl(crl, { issuer, nowMs, of, ...(crl.scope.urls[0] !== undefined && { url: crl.scope.urls[0] }) }));
    return [fault === undefined ? { status: "ok", text: "it is signed by its issuer, and fresh" } : refused("it is refused", fault)];
  }
  return [];
}

/** Anchors never stand for a domain other than their own. Who has no ID in it is taken for the domain that was named. */
function bundlesOf(anchors: readonly Certificate[], leaf: Certificate, named: string | undefined): ReadonlyMap<string, Bundle> {
  const ofLeaf = trustDomainOf(leaf);
  const bundles = new Map<string, Bundle>();
  for (const trustDomain of new Set([...anchors.map(trustDomainOf), named, ofLeaf])) {
    if (trustDomain === undefined) continue;
    const x509Authorities = anchors.filter((anchor) => (trustDomainOf(anchor) ?? named ?? ofLeaf) === trustDomain);
    if (x509Authorities.length > 0 || (anchors.length === 0 && trustDomain === ofLeaf)) bundles.set(trustDomain, { trustDomain, x509Authorities, jwtAuthorities: [] });
  }
  return bundles;
}

function trustDomainOf(certificate: Certificate): string | undefined {
  try {
    return readSpiffeId(certificate).trustDomain;
  } catch (error) {
    if (error instanceof PkiError) return undefined;
    throw error;
  }
}

/** Proxies go by the SPIFFE ID; whatever else calls the server compares names. */
function hostVerdict({ der }: Certificate, host: string | undefined): readonly Verdict[] {
  if (host === undefined) return [];
  const certificate = new X509Certificate(der);
  const fits = (isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined;
  if (fits) return [{ status: "ok", text: `it has the name ${host}` }];
  return [{ status: "warning", text: `it has not the name ${host}: clients that know no SPIFFE IDs refuse it`, advice: "give it that name with --dns or by its profile, if such clients are meant to call it" }];
}

function lateVerdict({ notBeforeMs, notAfterMs }: Certificate, nowMs: number): readonly Verdict[] {
  const leftMs = notAfterMs + 1000 - nowMs;
  if (leftMs <= 0 || leftMs > (notAfterMs - notBeforeMs) * lateShare) return [];
  return [{ status: "warning", text: `only ${spanOf(leftMs)} of its life are left; it should have been renewed by now`, advice: advice.path_expired! }];
}

/** What our own CA would not have signed, told apart from what is refused: other CAs have other habits. */
function lintVerdicts(leaf: Certificate, authorities: readonly Certificate[]): readonly Verdict[] {
  const issuer = authorities.find(({ subject, subjectKeyIdentifier }) => Buffer.compare(subject, leaf.issuer) === 0 && Buffer.compare(subjectKeyIdentifier ?? nothing, leaf.authorityKeyIdentifier ?? nothing) === 0);
  const trustDomain = trustDomainOf(leaf);
  if (issuer === undefined || trustDomain === undefined) return [];
  const failures = lintFailures(leaf.tbs, { kind: "workload", signatureAlgorithm: leaf.signatureAlgorithm, issuer, trustDomain, limits: anyLimits(leaf) });
  return failures.slice(0, maxLintVerdicts).map(({ id, citation, detail }) => ({ status: "warning", text: `Countersign would not have signed it so: ${detail} (${id}; ${citation})` }));
}

const anyLimits = ({ keyAlgorithm }: Certificate) => ({ lifetimeMaxMs: Infinity, clockSkewMs: 0, keyAlgorithms: [keyAlgorithm], names: { dnsNames: undefined, ipRanges: undefined } });
const isAuthority = ({ basicConstraints }: Certificate): boolean => basicConstraints?.certificateAuthority === true;

function refused(what: string, { code, message }: PkiError): Verdict {
  const remedy = advice[code];
  return { status: "failed", text: `${what}: ${message} (${code})`, code, ...(remedy !== undefined && { advice: remedy }) };
}

function faultOf(check: () => void): PkiError | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (error instanceof PkiError) return error;
    throw error;
  }
}

const nobodyTrusted: Verdict = { status: "warning", text: "whether its root is trusted cannot be said", advice: "name whom you trust: --bundle FILE, as countersign bundle show prints it" };
const timeFaults: readonly PkiErrorCode[] = ["path_expired", "path_not_yet_valid"];
const nothing = new Uint8Array();
/** Proxies renew at 50 to 70 % of a life, so with this much left several attempts have failed. */
const lateShare = 0.2;
const maxLintVerdicts = 5;
