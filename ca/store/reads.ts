import { StoreError } from "./errors.ts";
import type { Store } from "./store.ts";

/** What a store answers without its writer. */
export type StoreReads = Pick<
  Store,
  | "state" | "authorities" | "certificate" | "certificateOfKey" | "acmeRecord" | "certificates" | "certificateEnds" | "idempotent" | "token" | "tokens" | "revocations" | "revocationSequence" | "crl" | "crls"
  | "ceremony" | "ceremonies" | "documents" | "holdersBehind" | "feedPosition" | "announcements" | "reports"
  | "vitals" | "checkpoint" | "checkpoints" | "entries" | "subtreeHashes"
>;

/**
 * Turns what a driver throws into store_unavailable, the one thing a reader can do something about.
 * @param guard     thrown by it: why nothing can be read now
 * @param onFailure  called when a read failed
 */
export function guardReads(reads: StoreReads, guard: () => void, onFailure?: () => void): StoreReads {
  const guarded = Object.entries(reads).map(([name, read]: [string, (...args: never[]) => Promise<unknown>]) => [
    name,
    async (...args: never[]) => {
      guard();
      try {
        return await read(...args);
      } catch (cause) {
        onFailure?.();
        throw new StoreError("store_unavailable", `The database does not answer (${describe(cause)}). Look whether it runs and can be reached.`, { cause });
      }
    },
  ]);
  return Object.fromEntries(guarded) as StoreReads;
}

/** What a driver says, without drizzle's wrapping, which repeats the parameters. */
export function describe(error: unknown): string {
  const root = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  // A refused connection to a name with several addresses is an AggregateError without a message.
  if (root instanceof AggregateError) return root.errors.map(String).join(", ");
  return root instanceof Error ? root.message : String(root);
}
