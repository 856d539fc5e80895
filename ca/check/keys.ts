import type { CheckFacts } from "./facts.ts";
import { finding, observed, shortId, type Finding } from "./finding.ts";

/** The keys of the authorities. */
export function judgeKeys({ vitals, authorities }: CheckFacts): readonly Finding[] {
  return (vitals?.keys ?? []).map(({ authorityId, location, trouble }) => {
    const { type = "authority" } = authorities.find(({ id }) => id === authorityId) ?? {};
    if (location === "offline" && trouble === undefined) return observed("key-answers", `${type} ${shortId(authorityId)} has its key offline, where only ceremonies see it`);
    return finding("key-answers", trouble === undefined ? undefined : { status: "failed", what: trouble }, `${type} ${shortId(authorityId)} (${location})`);
  });
}
