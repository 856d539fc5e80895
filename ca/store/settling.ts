import type { Store } from "./store.ts";

/** A store that knows what it was asked and has not answered yet, also where nobody waits for the answer. */
export interface SettlingStore extends Store {
  /** Resolves when nothing is under way, what follows from the answers included: then this process may be frozen or ended. */
  settled(): Promise<void>;
}

/** Keeps track of a store's calls, for a host that may only stop in between: a transaction that is frozen holds up all other replicas. */
export function settlingStore(store: Store): SettlingStore {
  const underWay = new Set<Promise<unknown>>();

  function tracked(call: (...args: unknown[]) => unknown): (...args: unknown[]) => unknown {
    return (...args) => {
      const answer = call(...args);
      if (!(answer instanceof Promise)) return answer;
      const done: Promise<unknown> = answer.then(() => undefined, () => undefined).finally(() => underWay.delete(done));
      underWay.add(done);
      return answer;
    };
  }

  const wrapped = Object.fromEntries(Object.entries(store).map(([name, value]: [string, unknown]) =>
    [name, typeof value === "function" ? tracked(value as (...args: unknown[]) => unknown) : value])) as unknown as Store;
  return {
    ...wrapped,
    async settled() {
      for (let turn = 0; turn < maxTurns; turn++) {
        if (underWay.size === 0) {
          // Whoever got the last answer may ask again.
          await new Promise((resolve) => setImmediate(resolve));
          if (underWay.size === 0) return;
        }
        await Promise.all(underWay);
      }
    },
  };
}

/** More than any request asks one after another without being waited for. */
const maxTurns = 1000;
