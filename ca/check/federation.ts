import type { FederationSummary } from "../contract/federation.ts";
import type { CheckFacts } from "./facts.ts";
import { finding, type Finding, type Trouble } from "./finding.ts";

/** The bundles of other trust domains: a line for each. */
export function judgeFederation({ federation = [], bundleSequence, nowMs }: CheckFacts): readonly Finding[] {
  return [
    ...federation.map((one) => finding("federation-fresh", judgeOne(one, nowMs), `the bundle of ${one.trustDomain}`)),
    ...federation.filter(({ apiUrl, acknowledged }) => apiUrl !== undefined || acknowledged !== undefined).map((one) => finding("federation-heard", judgeHeard(one, bundleSequence, nowMs), `the CA of ${one.trustDomain}`)),
    ...federation.filter(({ witnessKey, hub, cosigned }) => witnessKey !== undefined && (hub === undefined || cosigned !== undefined)).map((one) => finding("log-cosigned", judgeWitness(one, nowMs), `the CA of ${one.trustDomain}`)),
  ];
}

/** Not fetched twice running, which one lost packet is not; or stale: not known to be the newest for three of its intervals, five minutes at least. */
function judgeOne({ trustDomain, bundle, refresh }: FederationSummary, nowMs: number): Trouble | undefined {
  const why = refresh?.error ?? "nobody has looked for it yet";
  const remedy = `try: countersign federation refresh ${trustDomain}`;
  if (bundle === undefined) return { status: "failed", what: `there is none, so nobody of it is believed: ${why}`, remedy };
  if (bundle.authorities.every(({ notAfter }) => Date.parse(notAfter) < nowMs)) {
    return { status: "failed", what: `all its roots have ended, so nobody of it is believed: ${why}`, remedy: `if it is gone, countersign federation remove ${trustDomain}` };
  }
  const ageMs = nowMs - Date.parse(refresh?.succeededAt ?? bundle.changedAt);
  const isStale = ageMs >= Math.max(staleIntervals * (bundle.refreshHintSeconds ?? defaultHintSeconds) * 1000, minStaleMs);
  if (!isStale && (refresh?.failures ?? 0) < failuresWorthTelling) return undefined;
  return { status: "warning", what: `it was last fetched ${refresh?.succeededAt ?? "never"}; the last good one is in force, and a root of ours waits for its CA: ${why}`, remedy };
}

/** Whether it reaches us, by what it told us last. */
function judgeHeard({ acknowledged, addedAt }: FederationSummary, own: bigint | undefined, nowMs: number): Trouble | undefined {
  if (acknowledged === undefined) {
    return nowMs - Date.parse(addedAt) < unheardMs ? undefined : { status: "warning", what: "it has never said so: nobody of ours may be believed there" };
  }
  if (acknowledged.vanished === true) return { status: "warning", what: `nothing was heard of it by its hub since ${acknowledged.at}: no root of ours waits for it any more, and after the next one nobody of ours may be believed there` };
  if (own === undefined || BigInt(acknowledged.bundleSequence) >= own) return undefined;
  return { status: "warning", what: `ours is ${own}, and it has ${acknowledged.bundleSequence}, as it said at ${acknowledged.at}; a root of ours waits for it` };
}

/** A contradiction is what witnesses are for; one that is only away leaves the others. */
function judgeWitness({ cosigned, addedAt }: FederationSummary, nowMs: number): Trouble | undefined {
  if (cosigned?.contradicts === true) {
    return { status: "failed", what: cosigned.error ?? "it remembers another history", remedy: "keep the database as it is, and run: countersign audit verify --witness" };
  }
  const ageMs = nowMs - Date.parse(cosigned?.at ?? addedAt);
  if (ageMs < staleCosignatureMs) return undefined;
  return { status: "warning", what: `it did so last ${cosigned?.at ?? "never"}, up to entry ${cosigned?.size ?? 0}: ${cosigned?.error ?? "it was not asked since"}` };
}

/** A log that does not grow is cosigned once an hour. */
export const staleCosignatureMs = 3 * 3_600_000;
/** In a row: one that is lost is none. */
export const failuresWorthTelling = 2;
/** It says so once its own proxies have had the bundle for a while (federationSettle). */
export const unheardMs = 15 * 60_000;
export const staleIntervals = 3;
const defaultHintSeconds = 300;
export const minStaleMs = 5 * 60_000;
