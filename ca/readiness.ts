import type { AuthorityKeeper } from "./authority/keeper.ts";
import type { AuthoritySigners } from "./authority/signers.ts";
import type { CeremonyWatch } from "./ceremony/due.ts";
import type { IssuingClock } from "./clock.ts";
import type { Readiness } from "./contract/vitals.ts";
import { isSealCurrent } from "./sealed-store.ts";
import type { CaState } from "./store/rows/ca-state.ts";
import type { Store } from "./store/store.ts";

export interface ReadinessDeps {
  readonly store: Pick<Store, "ping" | "state">;
  /** As this process opened it. */
  readonly state: Pick<CaState, "sealedLogKey">;
  readonly keeper: Pick<AuthorityKeeper, "current">;
  readonly clock: Pick<IssuingClock, "doubt">;
  readonly signers: Pick<AuthoritySigners, "troubles">;
  readonly ceremonies: Pick<CeremonyWatch, "due">;
  /** The CA above this one, where there is one. */
  readonly upstream: { warnings(): Promise<readonly string[]> } | undefined;
  readonly certificateLifetimeMs: number;
  readonly now: () => Date;
}

/** Makes the look at whether this replica can issue now; a part that cannot be asked for a warning has none. */
export function readinessReader({ store, state, keeper, clock, signers, ceremonies, upstream, certificateLifetimeMs, now }: ReadinessDeps): () => Promise<Readiness> {
  return async () => {
    const reasons: string[] = [];
    const neededUntilMs = now().getTime() + certificateLifetimeMs;
    const active = keeper.current().issuer;
    if (active === undefined) reasons.push("there is no active issuer");
    else if (active.certificate.notAfterMs < neededUntilMs) reasons.push("the issuer ends before a certificate issued now would, and has not been replaced");
    const timeDoubt = clock.doubt();
    if (timeDoubt !== undefined) reasons.push(timeDoubt);
    await store.ping().catch(() => reasons.push("the database does not answer"));
    const troubles = signers.troubles().map(({ authorityId: id, location, message }) => `the ${location} key of authority ${id}: ${message}`);
    const resealed = (await isSealCurrent(store, state).catch(() => true)) ? [] : [sealedAnew];
    const warnings = [...troubles, ...resealed, ...(await ceremonies.due().catch(() => [])), ...((await upstream?.warnings().catch(() => [])) ?? [])];
    return { ready: reasons.length === 0, reasons, ...(warnings.length > 0 && { warnings }) };
  };
}

const sealedAnew = "the CA's private keys were sealed anew since this replica opened them: start it again with the new sealing key, before its issuer ends, since it can make no other";
