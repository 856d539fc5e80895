import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "../log.ts";
import { openStore, type OpenStoreOptions } from "../store/open.ts";
import { StoreError } from "../store/errors.ts";
import type { Store } from "../store/store.ts";

export interface InitializeWaitDeps {
  readonly log: Log;
  /** Resolves when the process is asked to end. */
  readonly stopping: Promise<unknown>;
}

/**
 * Opens a store that somebody else makes ready (`countersign store initialize`): looks each second until its tables are of this version and a
 * CA has begun in it, for ten minutes at most.
 * @throws {StoreError} store_unavailable, with what was missing at last
 */
export async function openWhenInitialized(options: Omit<OpenStoreOptions, "migrate">, { log, stopping }: InitializeWaitDeps): Promise<Store> {
  const ending = new AbortController();
  void stopping.then(() => ending.abort());
  const startedAtMs = performance.now();
  for (let said = ""; ;) {
    try {
      return await openInitialized(options);
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== "store_unavailable" || performance.now() - startedAtMs > maxWaitMs) throw error;
      if (said !== error.message) log.warn({ err: error }, "the database is not ready for this CA; it is looked at again");
      said = error.message;
      await sleep(intervalMs, undefined, { signal: ending.signal }).catch(() => undefined);
      if (ending.signal.aborted) throw error;
    }
  }
}

async function openInitialized(options: OpenStoreOptions): Promise<Store> {
  const store = await openStore({ ...options, migrate: false });
  try {
    if ((await store.state()) !== undefined) return store;
    throw new StoreError("store_unavailable", "No CA has begun in this database, and this process may not begin one (initialize=off). Run: countersign store initialize");
  } catch (error) {
    await store.close();
    throw error;
  }
}

const intervalMs = 1000;
/** Longer than a migration takes; an orchestrator that starts the CA again begins anew. */
const maxWaitMs = 10 * 60_000;
