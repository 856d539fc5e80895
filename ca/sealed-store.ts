import type { Act } from "./store/acts.ts";
import type { CaState } from "./store/rows/ca-state.ts";
import type { Store } from "./store/store.ts";

/**
 * The store, but that a key which this process sealed is refused with sealing_superseded once the store's keys were sealed anew by
 * another: only the seal it knows opens it, which nobody else has any more.
 * @param opened  what the seal was taken from
 */
export function storeSealedAs(store: Store, { sealedLogKey }: Pick<CaState, "sealedLogKey">): Store {
  return { ...store, commit: (act) => store.commit(bringsSealedKey(act) ? { ...act, sealing: sealedLogKey } : act) };
}

/** Whether the seal is the one that this process opened. */
export async function isSealCurrent(store: Pick<Store, "state">, { sealedLogKey }: Pick<CaState, "sealedLogKey">): Promise<boolean> {
  const state = await store.state();
  return state === undefined || Buffer.compare(state.sealedLogKey, sealedLogKey) === 0;
}

function bringsSealedKey(act: Act): boolean {
  if (act.kind === "change-authorities") return act.add?.some(({ key }) => key.kind === "sealed") ?? false;
  return act.kind === "request-ceremony" && act.ceremony.sealedPrivateKey !== undefined;
}
