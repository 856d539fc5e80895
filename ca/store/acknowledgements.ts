import { storeClosed } from "./group-commit.ts";
import { StoreError } from "./errors.ts";

export interface WriteQueue<T> {
  /** Resolves when it is durable. @throws {StoreError} store_busy | store_unavailable */
  add(item: T): Promise<void>;
  /** Refuses what comes from now on, and resolves when all that came before is written. */
  close(): Promise<void>;
}

/**
 * Lets acknowledgements, or reports, share writes, apart from the log's: after a change of the bundle all holders come at once, and
 * issuing must not wait behind them.
 * @param what   plural, for the refusal
 * @param write  writes some in one transaction; its rejection is that of each
 */
export function writeQueue<T>(what: string, write: (group: readonly T[]) => Promise<void>): WriteQueue<T> {
  let waiting: Waiting<T>[] = [];
  let running: Promise<void> | undefined;
  let closed = false;

  async function run(): Promise<void> {
    while (waiting.length > 0) {
      const group = waiting.slice(0, maxGroup);
      waiting = waiting.slice(maxGroup);
      try {
        await write(group.map(({ item }) => item));
        for (const { resolve } of group) resolve();
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    running = undefined;
  }

  return {
    add(item) {
      if (closed) return Promise.reject(storeClosed());
      if (waiting.length >= maxWaiting) {
        return Promise.reject(new StoreError("store_busy", `${maxWaiting} ${what} already wait to be written. Nothing was written; try again in a second.`));
      }
      return new Promise((resolve, reject) => {
        waiting.push({ item, resolve, reject });
        running ??= run();
      });
    },
    async close() {
      closed = true;
      await running;
    },
  };
}

interface Waiting<T> {
  readonly item: T;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * How far back an acknowledgement counts for what a certificate was renewed from. A certificate renewed at half its life or later
 * leaves one that is still valid; more only where something made it renew early.
 */
export const maxAcknowledgedGenerations = 4;
/** Some 5 ms of writing: what is issued meanwhile waits no longer. */
const maxGroup = 256;
const maxWaiting = 10_000;
