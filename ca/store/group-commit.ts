import type { Outcome } from "./outcome.ts";
import type { Act, Receipt } from "./acts.ts";
import { StoreError } from "./errors.ts";

export interface GroupCommit {
  /** Resolves when the act's group is durable. @throws {StoreError} */
  commit(act: Act): Promise<Receipt>;
  /** Refuses what comes from now on, and resolves when all that came before is decided. */
  close(): Promise<void>;
}

/**
 * Lets acts share commits: those that arrive while one is in flight go into the next, in order of arrival.
 * @param commitGroup  decides and writes one group; its rejection is that of each act in it. Called for one group at a time. Until
 *   it has decided it may `gather` what arrived since: that joins the group, behind what is in it
 */
export function groupCommit(
  commitGroup: (acts: readonly Act[], gather: () => readonly Act[]) => Promise<readonly Outcome[]>,
  { maxGroupActs, maxWaitingActs, worthwhileActs } = groupCommitLimits,
): GroupCommit {
  const waiting: Waiting[] = [];
  let running: Promise<void> | undefined;
  let closed = false;

  async function run(): Promise<void> {
    while (waiting.length > 0) {
      await gathered();
      const group: Waiting[] = [];
      const gather = () => {
        group.push(...waiting.splice(0, maxGroupActs - group.length));
        return group.map(({ act }) => act);
      };
      try {
        const outcomes = await commitGroup(gather(), gather);
        group.forEach((act, index) => settle(act, outcomes[index]));
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    running = undefined;
  }

  /** What is about to come joins: while each turn of the event loop brings something, the commit would leave it behind. */
  async function gathered(): Promise<void> {
    let seen: number | undefined;
    for (let quietTurns = 0; quietTurns < turnsOfARequest && waiting.length < worthwhileActs;) {
      await new Promise((resolve) => setImmediate(resolve));
      quietTurns = seen === undefined || waiting.length === seen ? quietTurns + 1 : 0;
      seen = waiting.length;
    }
  }

  return {
    commit(act) {
      if (closed) return Promise.reject(storeClosed());
      if (waiting.length >= maxWaitingActs) {
        return Promise.reject(new StoreError("store_busy", `${maxWaitingActs} acts already wait to be committed. Nothing was written; try again in a second.`));
      }
      return new Promise((resolve, reject) => {
        waiting.push({ act, resolve, reject });
        running ??= run();
      });
    },
    async close() {
      closed = true;
      await running;
    },
  };
}

/** What a store says after `close`. */
export function storeClosed(): StoreError {
  return new StoreError("store_unavailable", "The store is closed: this process is shutting down.");
}

interface Waiting {
  readonly act: Act;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: unknown) => void;
}

function settle({ resolve, reject }: Waiting, outcome: Outcome | undefined): void {
  if (outcome === undefined) reject(new Error("commitGroup left an act undecided"));
  else if ("code" in outcome) reject(new StoreError(outcome.code, outcome.message, { outcomeKnown: outcome.outcomeKnown }));
  else resolve(outcome);
}

/** From the turn that reads a request to the one that commits its act. */
const turnsOfARequest = 2;
/**
 * 256 acts are about 0.4 MB and 10 ms of writing. 10 000 waiting ones are some seconds of work and 20 MB: past that an honest
 * refusal serves a client better than its turn. A group of 32 shares what
 * a commit costs by itself (signature, flush, pages of each index) well enough, and lets the next one gather while it is written.
 */
const groupCommitLimits = { maxGroupActs: 256, maxWaitingActs: 10_000, worthwhileActs: 32 };
