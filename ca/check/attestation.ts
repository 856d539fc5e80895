import type { AttestorVitals } from "../contract/vitals.ts";
import type { CheckFacts } from "./facts.ts";
import { finding, type Finding, type Trouble } from "./finding.ts";

/** Who else vouches for workloads: a line for each, and one for the anchors of another PKI. */
export function judgeAttestors({ vitals, nowMs }: CheckFacts): readonly Finding[] {
  return (vitals?.attestors ?? []).flatMap((attestor) => {
    const subject = `the attestor ${attestor.name} (${attestor.type})`;
    return [
      finding("attestor-answers", judgeAnswer(attestor), subject),
      ...(attestor.notAfter === undefined ? [] : [finding("attestor-anchors", judgeAnchors(attestor, nowMs), subject)]),
    ];
  });
}

function judgeAnswer({ trouble, vouches }: AttestorVitals): Trouble | undefined {
  if (trouble === undefined) return undefined;
  const what = trouble.replace(/\.$/, "");
  return vouches ? { status: "warning", what, remedy: "it vouches by the keys that were had before, for a day" } : { status: "failed", what };
}

function judgeAnchors({ notBefore = "", notAfter = "" }: AttestorVitals, nowMs: number): Trouble | undefined {
  const endMs = Date.parse(notAfter);
  if (endMs <= nowMs) return { status: "failed", what: `the last of them ended at ${notAfter}, so nobody is believed` };
  return (endMs - nowMs) / (endMs - Date.parse(notBefore)) < lateAnchorShare ? { status: "warning", what: `the last of them ends at ${notAfter}` } : undefined;
}

/** A year of ten: another PKI's roots are brought by hand. */
export const lateAnchorShare = 0.1;
