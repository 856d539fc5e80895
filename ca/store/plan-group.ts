import type { CheckpointSigner } from "../audit/checkpoint.ts";
import { appendLeaf, hashLeaf, rootOf, type CompactRange } from "../audit/merkle.ts";
import type { Act } from "./acts.ts";
import { newDraft, type Draft } from "./draft.ts";
import type { Facts } from "./facts.ts";
import { encodeHead } from "./head.ts";
import { refused, type Outcome, type Refused } from "./outcome.ts";
import type { Plan } from "./plan.ts";
import { takeEffect } from "./take-effect.ts";

/**
 * Decides a group of acts, one after another as if each had its own transaction, and seals the log after the last: the pure
 * core of both stores. A refused act leaves no trace.
 */
export function planGroup(acts: readonly Act[], facts: Facts, head: CompactRange, signer: CheckpointSigner): Plan {
  const draft = newDraft(facts);
  let range = head;
  const outcomes = acts.map((act): Outcome => {
    const logIndex = range.size;
    const refused = checkFence(act, facts) ?? checkSealing(act, draft, logIndex) ?? checkCeremony(act, draft) ?? takeEffect(act, draft, logIndex, signer);
    if (refused !== undefined) return refused;
    for (const id of act.answers?.ceremonies ?? []) draft.writes.ceremonyClosings.push({ id, closedAtMs: act.answers!.closedAtMs });
    if (act.announce !== undefined) draft.writes.announcements.push({ ...act.announce, sequence: logIndex + 1 });
    for (const body of [...act.entries, ...draft.furtherEntries.splice(0)]) {
      const leafHash = hashLeaf(body);
      draft.writes.entries.push({ index: range.size, body, leafHash });
      range = appendLeaf(range, leafHash, (level, index, hash) => draft.writes.subtrees.push({ level, index, hash }));
    }
    return { logIndex };
  });
  const { size } = range;
  const sealed = size === head.size ? undefined : { range, head: encodeHead(range), checkpoint: { size, note: signer.sign(size, rootOf(range)) } };
  return { outcomes, writes: draft.writes, sealed };
}

/** No act takes or gives up a lease, so the facts hold for the whole group. */
function checkFence({ fence }: Act, facts: Facts): Refused | undefined {
  if (fence === undefined || facts.leaseToken(fence.lease) === fence.token) return undefined;
  return refused("lease_lost", `The lease ${fence.lease} is no longer held under token ${fence.token}: another process has taken over. Leave the work to it.`);
}

function checkSealing(act: Act, { facts, writes }: Draft, logIndex: number): Refused | undefined {
  if (act.kind === "reseal" && act.logSize !== logIndex) {
    return refused("sealing_superseded", "Something was written to the store while its keys were sealed anew: a CA has started on it. Nothing was changed; stop it, and try again.");
  }
  const { sealing } = act;
  if (sealing === undefined) return undefined;
  const stored = writes.resealings.at(-1)?.sealedLogKey ?? writes.states[0]?.sealedLogKey ?? facts.sealedLogKey();
  if (stored !== undefined && Buffer.compare(stored, sealing) === 0) return undefined;
  return refused("sealing_superseded", "The private keys of the store were sealed anew since this process opened them, and what it seals would open for nobody. Start this process again with the new sealing key.");
}

function checkCeremony({ answers }: Act, { facts, writes }: Draft): Refused | undefined {
  const isOpen = (ceremony: string): boolean =>
    (facts.ceremonyOpen(ceremony) || writes.ceremonies.some(({ id }) => id === ceremony)) && !writes.ceremonyClosings.some(({ id }) => id === ceremony);
  const closed = answers?.ceremonies.find((ceremony) => !isOpen(ceremony));
  if (closed === undefined) return undefined;
  return refused("ceremony_unknown", `The request ${closed} is not open: it was answered or taken back before, or is another CA's.`);
}
