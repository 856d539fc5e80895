import { storeClosed } from "./group-commit.ts";
import { StoreError, type Acknowledgement } from "./store.ts";

export interface AcknowledgementQueue {
  /** Resolves when it is durable. @throws {StoreError} store_busy | store_unavailable */
  add(acknowledgement: Acknowledgement): Promise<void>;
  /** Refuses what comes from now on, and resolves when all that came before is written. */
  close(): Promise<void>;
}

/**
 * Lets acknowledgements share writes, apart from the log's: after a change of the bundle all holders come at once, and issuing
 * must not wait behind them.
 * @param write  writes some in one transaction; its rejection is that of each
 */
export function acknowledgementQueue(write: (group: readonly Acknowledgement[]) => Promise<void>): AcknowledgementQueue {
  let waiting: Waiting[] = [];
  let running: Promise<void> | undefined;
  let closed = false;

  async function run(): Promise<void> {
    while (waiting.length > 0) {
      const group = waiting.slice(0, maxGroup);
      waiting = waiting.slice(maxGroup);
      try {
        await write(group.map(({ acknowledgement }) => acknowledgement));
        for (const { resolve } of group) resolve();
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    running = undefined;
  }

  return {
    add(acknowledgement) {
      if (closed) return Promise.reject(storeClosed());
      if (waiting.length >= maxWaiting) {
        return Promise.reject(new StoreError("store_busy", `${maxWaiting} acknowledgements already wait to be written. Nothing was written; try again in a second.`));
      }
      return new Promise((resolve, reject) => {
        waiting.push({ acknowledgement, resolve, reject });
        running ??= run();
      });
    },
    async close() {
      closed = true;
      await running;
    },
  };
}

interface Waiting {
  readonly acknowledgement: Acknowledgement;
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
