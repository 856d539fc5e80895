import type { CheckFacts } from "./facts.ts";
import { findingOf, type Finding } from "./finding.ts";

/** The processes that share the database, where there are several. */
export function judgeReplicas({ vitals }: CheckFacts): readonly Finding[] {
  const replicas = vitals?.replicas ?? [];
  if (vitals === undefined || replicas.length < 2) return [];
  const others = replicas.filter(({ version, silent }) => !silent && version !== vitals.version);
  return [
    findingOf("replica-version", "warning", others.map(({ address, version }) => `${address} is ${version}, the one that answers ${vitals.version}`)),
    findingOf("replica-heard", "warning", replicas.filter(({ silent }) => silent).map(({ address, heardAt }) => `${address} was last heard of at ${heardAt}`)),
  ];
}
