import type { AuthoritySummary, Readiness } from "../contract.ts";
import { pathOf } from "./table.ts";

/** One line of `countersign check`. */
export interface Finding {
  readonly category: "api" | "authorities" | "convergence";
  readonly status: "ok" | "warning" | "failed";
  /** What was looked at, as it should be. */
  readonly name: string;
  /** What is not as it should be, and what to do. */
  readonly hint?: string;
}

/** What the checks judge, as read from the CA at one moment. */
export interface CheckFacts {
  readonly readiness: Readiness;
  readonly authorities: readonly AuthoritySummary[];
  readonly nowMs: number;
}

/** Judges. Pure; thresholds are parts of a lifetime, so that they hold for a root of ten years and an issuer of an hour. */
export function judge({ readiness, authorities, nowMs }: CheckFacts): readonly Finding[] {
  return [...judgeApi(readiness), ...judgeAuthorities(authorities, nowMs), ...judgeConvergence(authorities)];
}

function judgeApi({ ready, reasons, warnings = [] }: Readiness): readonly Finding[] {
  return [
    finding("api", "the CA is ready to issue", ready ? "ok" : "failed", reasons.join("; ")),
    ...(warnings.length === 0
      ? [finding("api", "nothing threatens it", "ok")]
      : warnings.map((warning) => finding("api", "nothing threatens it", "warning", warning))),
  ];
}

function judgeAuthorities(authorities: readonly AuthoritySummary[], nowMs: number): readonly Finding[] {
  const active = authorities.filter(({ state }) => state === "active");
  const missing = (["root", "issuer"] as const).filter((type) => !active.some((authority) => authority.type === type));
  const tainted = authorities.filter(({ state }) => state === "tainted");
  return [
    ...missing.map((type) => finding("authorities", `there is an active ${type}`, "failed", `none is; look at: countersign authority list`)),
    ...active.map((authority) => judgeLife(authority, authorities, nowMs)),
    ...tainted.map(({ id, type }) => finding(
      "authorities", "no tainted authority is trusted", "warning",
      `${type} ${short(id)} is: when its holders have renewed, countersign authority revoke ${short(id)}`,
    )),
  ];
}

function judgeLife({ id, type, key, notBefore, notAfter }: AuthoritySummary, authorities: readonly AuthoritySummary[], nowMs: number): Finding {
  const name = `${type} ${short(id)} has enough of its life left`;
  const endMs = Date.parse(notAfter);
  const left = (endMs - nowMs) / (endMs - Date.parse(notBefore));
  const share = `${Math.max(0, Math.floor(left * 100))} % is left, until ${notAfter}`;
  const remedy = type === "root" && key !== "sealed" ? outsideRootRemedy : remedies[type];
  if (left <= criticalShare[type]) return finding("authorities", name, "failed", `${share}; ${remedy}`);
  const hasSuccessor = authorities.some((other) => other.type === type && other.state === "prepared");
  if (left <= lateShare[type] && !hasSuccessor) return finding("authorities", name, "warning", `${share}, and no successor is prepared; ${remedy}`);
  return finding("authorities", name, "ok");
}

function judgeConvergence(authorities: readonly AuthoritySummary[]): readonly Finding[] {
  return authorities.filter(({ state, waitsFor }) => state === "prepared" && waitsFor !== undefined).map(({ id, type, waitsFor }) => {
    const { count, holders } = waitsFor!;
    const names = holders.slice(0, maxNamed).map(({ spiffeId, serialNumber }) => `${pathOf(spiffeId)} (${serialNumber})`).join(", ");
    const more = count > Math.min(holders.length, maxNamed) ? ` and ${count - Math.min(holders.length, maxNamed)} more` : "";
    return finding(
      "convergence", `every holder trusts the prepared ${type} ${short(id)}`, count === 0 ? "ok" : "warning",
      `it waits for ${names}${more}; look at their proxies, or wait until their certificates have ended`,
    );
  });
}

function finding(category: Finding["category"], name: string, status: Finding["status"], hint?: string): Finding {
  return status === "ok" ? { category, status, name } : { category, status, name, ...(hint && { hint }) };
}

const short = (id: string): string => id.slice(0, 12);
/** Issuers are replaced with half of their life left (25 of 48 h), roots prepared at a fifth: later than this, something is stuck. */
const lateShare = { root: 0.18, intermediate: 0.25, issuer: 0.4, jwt: 0.1 } as const;
const criticalShare = { root: 0.03, intermediate: 0.05, issuer: 0.1, jwt: 0.03 } as const;
const remedies = {
  root: "begin with: countersign authority prepare",
  intermediate: "begin with: countersign ceremony request intermediate",
  issuer: "the CA's log says why it was not replaced; try: countersign authority rotate",
  jwt: "the CA's log says why it was not replaced; try: countersign authority rotate --type jwt",
} as const;
/** Its successor's key is made where its own is. */
const outsideRootRemedy = "its key is not in the store, so begin with: countersign ceremony request root";
const maxNamed = 5;
