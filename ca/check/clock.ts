import type { CheckFacts } from "./facts.ts";
import { finding, type Finding, type Trouble } from "./finding.ts";

/** The clocks against each other. That the CA doubts its own is a reason not to be ready. */
export function judgeClock({ vitals, nowMs }: CheckFacts): readonly Finding[] {
  if (vitals === undefined) return [];
  const { time, store: { clockOffsetMs } } = vitals;
  return [
    finding("clock-here", judgeOffset(Date.parse(time) - nowMs, "the CA's")),
    ...(clockOffsetMs === undefined ? [] : [finding("clock-store", judgeOffset(clockOffsetMs, "the database's"))]),
  ];
}

function judgeOffset(offsetMs: number, whose: string): Trouble | undefined {
  if (Math.abs(offsetMs) <= maxOffsetMs) return undefined;
  return { status: "warning", what: `${whose} is ${(Math.abs(offsetMs) / 1000).toFixed(1)} s ${offsetMs < 0 ? "behind" : "ahead"}` };
}

/** Half of what the CA still issues with. */
export const maxOffsetMs = 5000;
