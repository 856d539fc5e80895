import type { CertificateFact, Facts, TokenFact } from "./facts.ts";
import type { AuthorityFact } from "./plan-authorities.ts";
import type { Writes } from "./plan.ts";

/** A group's writes while it is planned, and what its earlier acts changed of the facts. */
export interface Draft {
  readonly facts: Facts;
  readonly writes: { -readonly [Table in keyof Writes]: Writes[Table] extends readonly (infer Row)[] ? Row[] : Writes[Table] };
  /** Entries that the act under way adds to its own. */
  readonly furtherEntries: string[];
  initialized: boolean;
  readonly certificates: Map<string, CertificateFact>;
  readonly keys: Set<string>;
  readonly tokens: Map<string, TokenFact>;
  readonly idempotencyKeys: Map<string, number>;
  readonly crlNumbers: Map<string, number>;
  readonly authorities: Map<string, AuthorityFact>;
  authoritiesKnown: boolean;
  bundleSequence: number | undefined;
}

/** Of a group of which no act has been looked at yet. */
export function newDraft(facts: Facts): Draft {
  return {
    facts,
    writes: {
      states: [], resealings: [], prunings: [], authorities: [], authorityStates: [], certificates: [], revocations: [], tokens: [], redemptions: [], deletions: [], lastNotAfters: [], bundleSequence: undefined,
      idempotencyKeys: [], forgetUntilMs: undefined, crls: [], announcements: [], ceremonies: [], ceremonyClosings: [], documents: [], entries: [], subtrees: [],
    },
    furtherEntries: [],
    initialized: facts.initialized,
    certificates: new Map(),
    keys: new Set(),
    tokens: new Map(),
    idempotencyKeys: new Map(),
    crlNumbers: new Map(),
    authorities: new Map(),
    authoritiesKnown: false,
    bundleSequence: facts.bundleSequence,
  };
}

/** Those that are neither retired nor revoked, as the acts before this one leave them. */
export function authoritiesOf(draft: Draft): readonly AuthorityFact[] {
  if (!draft.authoritiesKnown) for (const fact of draft.facts.authorities()) if (!draft.authorities.has(fact.id)) draft.authorities.set(fact.id, fact);
  draft.authoritiesKnown = true;
  return [...draft.authorities.values()];
}

/** In whatever state; undefined for one that there is not. */
export function authorityOf(id: string, draft: Draft): AuthorityFact | undefined {
  const fact = draft.authorities.get(id) ?? draft.facts.authority(id);
  if (fact !== undefined) draft.authorities.set(id, fact);
  return fact;
}

/** Undefined for one that was not issued here. */
export function certificateOf(serialNumber: string, draft: Draft): CertificateFact | undefined {
  return draft.certificates.get(serialNumber) ?? draft.facts.certificate(serialNumber);
}

/** Undefined for one that there is not. */
export function tokenOf(id: string, draft: Draft): TokenFact | undefined {
  return draft.tokens.get(id) ?? draft.facts.token(id);
}
