import { familyOf, isPublished, isValidAt } from "../authority-tree.ts";
import { authorityTypes, type AuthorityState } from "../contract/authorities.ts";
import type { Refused } from "./outcome.ts";
import type { Act } from "./acts.ts";
import type { AuthorityChange, AuthorityRow } from "./rows/authorities.ts";

/** What a commit knows of an authority. */
export type AuthorityFact = Pick<AuthorityRow, "id" | "type" | "state" | "parentId" | "lastNotAfterMs" | "notAfterMs">;

/** What an authority became, as the database writes it. */
export type AuthorityStateWrite = Pick<AuthorityChange, "atMs" | "activateAtMs"> & { readonly id: string; readonly state: AuthorityState };

type Change = Extract<Act, { readonly kind: "change-authorities" }>;

/**
 * Decides a change of authorities against those of now: all of it takes effect or nothing.
 * @returns the authorities afterwards
 */
export function planAuthorityChange(
  { add = [], changes = [], bundleSequence }: Change, before: readonly AuthorityFact[], sequence: number | undefined,
): { readonly after: readonly AuthorityFact[]; readonly states: readonly AuthorityStateWrite[] } | Refused {
  for (const { authorityId, from, to, atMs, unusedOnly = false } of changes) {
    const fact = before.find(({ id }) => id === authorityId);
    if (fact?.state !== from) return superseded(`Authority ${authorityId} is ${fact?.state ?? "not there, retired or revoked"}, not ${from}`);
    if (!followers[from].includes(to)) throw new TypeError(`no authority goes from ${from} to ${to}`);
    const user = unusedOnly ? userOf(fact, before, changes, atMs) : undefined;
    if (user !== undefined) return { code: "authority_in_use", message: `What authority ${user} signed is still valid, and ${authorityId} vouches for it.` };
  }
  const changed = before.map((fact) => {
    const change = changes.find(({ authorityId }) => authorityId === fact.id);
    return change === undefined ? fact : { ...fact, state: change.to };
  });
  const after = [...changed, ...add];
  for (const type of authorityTypes) {
    const active = after.filter((fact) => fact.type === type && fact.state === "active").map(({ id }) => id);
    if (active.length > 1) return superseded(`Both ${active.join(" and ")} would be the active ${type}`);
  }
  if (bundleSequence !== undefined && bundleSequence.from !== sequence) {
    return superseded(`The bundle's sequence is ${sequence ?? "not set"}, not ${bundleSequence.from}`);
  }
  if (bundleSequence === undefined && publishedIds(before) !== publishedIds(after)) throw new TypeError("the bundle changes and its sequence does not");
  return {
    after,
    states: changes.map(({ authorityId, to, atMs, activateAtMs }) => ({ id: authorityId, state: to, atMs, ...(activateAtMs !== undefined && { activateAtMs }) })),
  };
}

/** Why a certificate may not come from the authority it names. Until a replica knows that its issuer was replaced, it signs on. */
export function refuseSigner({ id, state }: AuthorityFact): Refused | undefined {
  return state === "active" || state === "retiring" ? undefined : superseded(`Authority ${id} is ${state} and signs nothing`);
}

/** The authority in the family that still has something to vouch for: valid certificates, or the power to sign more after this act. */
function userOf(fact: AuthorityFact, facts: readonly AuthorityFact[], changes: readonly AuthorityChange[], nowMs: number): string | undefined {
  const changing = new Set(changes.map(({ authorityId }) => authorityId));
  return familyOf(fact, facts).find(({ id, lastNotAfterMs }) => !changing.has(id) || isValidAt(lastNotAfterMs, nowMs))?.id;
}

function publishedIds(facts: readonly AuthorityFact[]): string {
  return facts.filter(isPublished).map(({ id }) => id).sort().join();
}

function superseded(fact: string): Refused {
  return { code: "authority_superseded", message: `${fact}: another replica was faster. Read the authorities again.` };
}

/** What may become of an authority; a prepared one that stays so gets another time. */
const followers: Readonly<Record<AuthorityState, readonly AuthorityState[]>> = {
  prepared: ["prepared", "active", "retired", "tainted", "revoked"],
  active: ["retiring", "tainted", "revoked"],
  retiring: ["retired", "tainted", "revoked"],
  tainted: ["revoked"],
  retired: [],
  revoked: [],
};
