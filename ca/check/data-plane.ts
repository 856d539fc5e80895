import type { ProxySummary } from "../contract/proxies.ts";
import type { CheckFacts } from "./facts.ts";
import { finding, findingOf, shortId, type Finding } from "./finding.ts";

/** The proxies by the certificates that they live on, not by what they are set to. */
export function judgeDataPlane({ proxies: list, authorities, vitals, nowMs }: CheckFacts): readonly Finding[] {
  if (list === undefined) return [];
  const { proxies, truncated } = list;
  const good = new Set(authorities.filter(({ type, state }) => type === "issuer" && (state === "active" || state === "retiring")).map(({ id }) => id));
  const skewed = proxies.filter((proxy) => Math.abs(clockOffsetMs(proxy)) > clockLimitMs);
  const expired = proxies.filter(({ notAfter }) => Date.parse(notAfter) <= nowMs);
  const late = proxies.filter((proxy) => spentShare(proxy, nowMs) > lateRenewalShare && spentShare(proxy, nowMs) < 1);
  const lenient = proxies.filter(({ inboundMode = "strict", startedAt }) => inboundMode !== "strict" && startedAt !== undefined && nowMs - Date.parse(startedAt) > lenientMs);
  const others = vitals === undefined ? [] : proxies.filter(({ version }) => version !== undefined && version !== vitals.version);
  return [
    findingOf("proxy-chain", "failed", proxies.filter(({ authorityId }) => !good.has(authorityId)).map((proxy) => `${nameOf(proxy)} has one of ${shortId(proxy.authorityId)}`)),
    expired.length > 0
      ? findingOf("proxy-life", "failed", expired.map((proxy) => `${nameOf(proxy)} expired at ${proxy.notAfter}`))
      : findingOf("proxy-life", "warning", late.map((proxy) => `${nameOf(proxy)} ends at ${proxy.notAfter}`)),
    findingOf("proxy-clock", "warning", skewed.map((proxy) => `${nameOf(proxy)} is ${offsetText(clockOffsetMs(proxy))}`)),
    findingOf("proxy-version", "warning", others.map((proxy) => `${nameOf(proxy)} is ${proxy.version}`)),
    findingOf("proxy-mode", "warning", lenient.map((proxy) => `${nameOf(proxy)} is ${proxy.inboundMode} since ${proxy.startedAt?.slice(0, 10)}`)),
    ...(truncated ? [finding("proxy-list", { status: "warning", what: `only ${proxies.length} were looked at` })] : []),
  ];
}

/** Whether a revocation is enforced where it counts: a proxy that reported after it and did not have it lags. */
export function judgeRevocation({ proxies, revocations, vitals, authorities, nowMs }: CheckFacts): readonly Finding[] {
  const lagging = revocations === undefined ? undefined : (proxies?.proxies ?? []).filter(({ revocationSequence, receivedAt }) => {
    // Of those that it lacks the oldest: of thousands of proxies most lack none, and none is looked for a second time.
    const lacked = revocationSequence === undefined ? undefined : revocations.find(({ sequence }) => sequence > revocationSequence);
    return lacked !== undefined && Date.parse(lacked.revokedAt) + lagLimitMs < Date.parse(receivedAt);
  });
  const signing = new Set(authorities.filter(({ state }) => state === "active" || state === "retiring").map(({ id }) => id));
  const lists = (vitals?.crls ?? []).filter(({ authorityId }) => signing.has(authorityId));
  return [
    ...(lagging === undefined ? [] : [findingOf("revocation-lag", "failed", lagging.map((proxy) => `${nameOf(proxy)} stands at ${proxy.revocationSequence}`))]),
    ...lists.map(({ authorityId, list, thisUpdate, nextUpdate }) => {
      const [beginMs, endMs] = [Date.parse(thisUpdate), Date.parse(nextUpdate)];
      const subject = `the CRL ${list} of ${shortId(authorityId)}`;
      if (endMs <= nowMs) return finding("crl-fresh", { status: "failed", what: `it was good until ${nextUpdate}` }, subject);
      const isLate = (endMs - nowMs) / (endMs - beginMs) < lateCrlShare;
      return finding("crl-fresh", isLate ? { status: "warning", what: `it ends at ${nextUpdate} and should have been signed anew` } : undefined, subject);
    }),
  ];
}

function clockOffsetMs({ reportedAt, receivedAt }: ProxySummary): number {
  return Date.parse(reportedAt) - Date.parse(receivedAt);
}

function offsetText(offsetMs: number): string {
  return `${Math.round(Math.abs(offsetMs) / 1000)} s ${offsetMs < 0 ? "behind" : "ahead"}`;
}

function spentShare({ notBefore, notAfter }: ProxySummary, nowMs: number): number {
  return (nowMs - Date.parse(notBefore)) / (Date.parse(notAfter) - Date.parse(notBefore));
}

const nameOf = ({ spiffeId, serialNumber }: ProxySummary): string => `${spiffeId.replace(/^spiffe:\/\/[^/]*/, "")} (${shortId(serialNumber)})`;
/** Renewal begins at 50 to 70 % of a life, and is tried again and again: by then it has failed for long. */
export const lateRenewalShare = 0.8;
/** The allowance on notBefore is 20 s; a report is some seconds under way at worst. */
export const clockLimitMs = 10_000;
/** Time to bring everybody who calls it behind a proxy; counted from the start of the proxy's process, since nobody knows of those before. */
export const lenientMs = 7 * 86_400_000;
/** A second by the stream; a proxy that polls has it with its next poll. */
export const lagLimitMs = 60_000;
/** A CRL is signed anew at half of its time. */
export const lateCrlShare = 0.25;
