import { federatedCa, type AuthoritySummary } from "../contract/authorities.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { validatePath } from "../pki/path.ts";
import { decodePem } from "../pki/pem.ts";
import type { CheckFacts } from "./facts.ts";
import { finding, shortId, type Finding, type Trouble } from "./finding.ts";

/** Roots, issuers and keys of JWT-SVIDs. Thresholds are parts of a lifetime, so that they hold for a root of ten years and an issuer of an hour. */
export function judgeAuthorities({ authorities, newestChain, vitals, nowMs }: CheckFacts): readonly Finding[] {
  const active = authorities.filter(({ state }) => state === "active");
  const inForce = authorities.filter(({ state }) => state === "active" || state === "prepared" || state === "retiring");
  const tainted = authorities.filter(({ state }) => state === "tainted");
  return [
    ...(["root", "issuer"] as const).filter((type) => !active.some((authority) => authority.type === type))
      .map((type) => finding("authority-active", { status: "failed", what: "there is none" }, `the ${type}`)),
    ...several("authority-algorithm", inForce, judgeAlgorithm),
    ...several("authority-valid", inForce, (authority) => judgeDates(authority, nowMs)),
    ...active.map((authority) => finding("authority-life", judgeLife(authority, authorities, nowMs), nameOf(authority))),
    ...(newestChain === undefined ? [] : judgeChains(authorities, newestChain, nowMs)),
    ...(vitals === undefined ? [] : several("authority-names", inForce.filter(({ type, key }) => type !== "jwt" && key !== "upstream"), (authority) => judgeNames(authority, vitals.trustDomain))),
    ...tainted.map((authority) => finding("authority-tainted", {
      status: "warning", what: `${nameOf(authority)} is`, remedy: `when its holders have renewed, countersign authority revoke ${shortId(authority.id)}`,
    })),
  ];
}

/** Whoever a prepared root waits for. */
export function judgeConvergence({ authorities }: CheckFacts): readonly Finding[] {
  return authorities.filter(({ state, waitsFor }) => state === "prepared" && waitsFor !== undefined).map(({ id, type, waitsFor }) => {
    const { count, holders } = waitsFor!;
    const names = holders.slice(0, maxNamed).map(({ spiffeId, serialNumber }) => `${serialNumber === federatedCa ? spiffeId : spiffeId.replace(/^spiffe:\/\/[^/]*/, "")} (${serialNumber === federatedCa ? serialNumber : shortId(serialNumber)})`).join(", ");
    const more = count > Math.min(holders.length, maxNamed) ? ` and ${count - Math.min(holders.length, maxNamed)} more` : "";
    const trouble = count === 0 ? undefined : { status: "warning", what: `it waits for ${names}${more}` } as const;
    return finding("convergence-trusted", trouble, `the prepared ${type} ${shortId(id)}`);
  });
}

/** A line for each that is not well; one for all when they are. */
function several(check: "authority-algorithm" | "authority-valid" | "authority-names", authorities: readonly AuthoritySummary[], judge: (authority: AuthoritySummary) => Trouble | undefined): readonly Finding[] {
  const bad = authorities.flatMap((authority) => {
    const trouble = judge(authority);
    return trouble === undefined ? [] : [finding(check, trouble, nameOf(authority))];
  });
  return bad.length > 0 || authorities.length === 0 ? bad : [finding(check, undefined, "every authority")];
}

function judgeAlgorithm({ certificate, notAfter }: AuthoritySummary): Trouble | undefined {
  const parsed = parseOne(certificate);
  if (parsed instanceof PkiError) return { status: "failed", what: `proxies do not read its certificate: ${parsed.message}` };
  if (parsed.keyAlgorithm !== "rsa-2048" || Date.parse(notAfter) < rsa2048UntilMs) return undefined;
  return { status: "warning", what: `rsa-2048 is not meant to be relied on after 2030, and it lives until ${notAfter.slice(0, 10)}` };
}

function judgeDates({ notBefore, notAfter }: AuthoritySummary, nowMs: number): Trouble | undefined {
  if (nowMs < Date.parse(notBefore)) return { status: "failed", what: `it begins at ${notBefore}, and here it is ${new Date(nowMs).toISOString()}` };
  return nowMs >= Date.parse(notAfter) + 1000 ? { status: "failed", what: `it ended at ${notAfter}` } : undefined;
}

function judgeLife({ type, key, notBefore, notAfter }: AuthoritySummary, authorities: readonly AuthoritySummary[], nowMs: number): Trouble | undefined {
  const endMs = Date.parse(notAfter);
  const left = (endMs - nowMs) / (endMs - Date.parse(notBefore));
  const share = `${Math.max(0, Math.floor(left * 100))} % is left, until ${notAfter}`;
  const remedy = key === "upstream" ? "replace it at the CA above, whose it is" : type === "root" && key !== "sealed" ? outsideRootRemedy : remedies[type];
  if (left <= criticalShare[type]) return { status: "failed", what: share, remedy };
  const hasSuccessor = authorities.some((other) => other.type === type && other.state === "prepared");
  return left <= lateShare[type] && !hasSuccessor ? { status: "warning", what: `${share}, and no successor is prepared`, remedy } : undefined;
}

/** Software may hold any one of the roots in force: what is issued now must lead to each of them. */
function judgeChains(authorities: readonly AuthoritySummary[], newestChain: string, nowMs: number): readonly Finding[] {
  const anchors = authorities.filter(({ type, state }) => type === "root" && (state === "active" || state === "retiring"));
  return anchors.map((anchor) => {
    const subject = `what is issued with ${nameOf(anchor)} in force`;
    try {
      const [leaf, ...intermediates] = decodePem(newestChain, "CERTIFICATE").map(parseCertificate);
      const [root] = decodePem(anchor.certificate, "CERTIFICATE").map(parseCertificate);
      // The newest one may have ended by now where nothing was issued since; that is not what this asks.
      if (leaf !== undefined && root !== undefined) validatePath({ leaf, intermediates, anchors: [root], nowMs: Math.min(nowMs, leaf.notAfterMs) });
      return finding("authority-chain", undefined, subject);
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      return finding("authority-chain", { status: "failed", what: `the newest certificate does not lead to it: ${error.message} (${error.code})` }, subject);
    }
  });
}

function judgeNames({ certificate }: AuthoritySummary, trustDomain: string): Trouble | undefined {
  const parsed = parseOne(certificate);
  if (parsed instanceof PkiError) return undefined;
  const others = (parsed.subjectAltName?.uris ?? []).filter((uri) => uri !== `spiffe://${trustDomain}`);
  return others.length === 0 ? undefined : { status: "failed", what: `it names ${others.slice(0, maxNamed).join(", ")}, and this is ${trustDomain}` };
}

function parseOne(pem: string): Certificate | PkiError {
  try {
    const [der = new Uint8Array()] = decodePem(pem, "CERTIFICATE");
    return parseCertificate(der);
  } catch (error) {
    if (error instanceof PkiError) return error;
    throw error;
  }
}

const nameOf = ({ type, id }: AuthoritySummary): string => `${type} ${shortId(id)}`;
/** NIST SP 800-57 part 1, table 4: 112 bits of security. */
const rsa2048UntilMs = Date.UTC(2031, 0, 1);
/** Issuers are replaced with half of their life left (25 of 48 h), roots prepared at a fifth: later than this, something is stuck. */
export const lateShare = { root: 0.18, intermediate: 0.25, issuer: 0.4, jwt: 0.1 } as const;
export const criticalShare = { root: 0.03, intermediate: 0.05, issuer: 0.1, jwt: 0.03 } as const;
const remedies = {
  root: "begin with: countersign authority prepare",
  intermediate: "begin with: countersign ceremony request intermediate",
  issuer: "the CA's log says why it was not replaced; try: countersign authority rotate",
  jwt: "the CA's log says why it was not replaced; try: countersign authority rotate --type jwt",
} as const;
/** Its successor's key is made where its own is. */
const outsideRootRemedy = "its key is not in the store, so begin with: countersign ceremony request root";
const maxNamed = 5;
