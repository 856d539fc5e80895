import { leaseKeeper } from "./authority/lease.ts";
import { encodeEntry } from "./audit/event.ts";
import type { Log } from "./log.ts";
import type { CertificateEnd } from "./store/rows/certificates.ts";
import type { Fence } from "./store/rows/leases.ts";
import type { Store } from "./store/store.ts";

export interface Pruner {
  /**
   * Goes through what may have ended long enough ago, if this replica holds the lease. The timer calls it; tests may.
   * @param untilMs  by `performance.now()`: begins no further step then; the next call goes on
   * @returns rows that it forgot
   */
  tick(untilMs?: number): Promise<number>;
  start(): void;
  close(): Promise<void>;
}

export interface PrunerDeps {
  readonly store: Pick<Store, "certificateEnds" | "commit" | "acquireLease" | "releaseLease">;
  readonly log: Log;
  readonly now: () => Date;
  /** How long after its end a certificate's row is kept. */
  readonly retentionMs: number;
}

/**
 * Forgets certificates that ended long ago, a thousand a commit, on one replica at a time. The audit log keeps their record; it also
 * says that they were pruned, so `audit verify` knows why they are missing.
 */
export function pruner({ store, log, now, retentionMs }: PrunerDeps): Pruner {
  const lease = leaseKeeper({ store, name: "prune", log });
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<number> | undefined;
  let closed = false;

  async function pass(untilMs: number): Promise<number> {
    const expiredBeforeMs = now().getTime() - retentionMs;
    let pruned = 0;
    for (let start = 0, step = 0; step < maxSteps && !closed && performance.now() < untilMs; step++) {
      const fence = await lease.hold();
      if (fence === undefined) break;
      const page = await store.certificateEnds({ start, limit: pageRows });
      const next = planPruning(page, expiredBeforeMs);
      if (next.rows > 0) await forget({ from: start, to: next.to, expiredBeforeMs }, fence);
      pruned += next.rows;
      if (next.done) break;
      start = next.to;
      // Others' commits come first.
      await new Promise((resolve) => setTimeout(resolve, pauseMs).unref());
    }
    if (pruned > 0) log.info({ pruned, expiredBefore: new Date(expiredBeforeMs).toISOString() }, "rows of certificates that ended long ago were removed");
    return pruned;
  }

  /** If we die here, the rows are there or the log says that they are gone: one commit. */
  async function forget({ from, to, expiredBeforeMs }: { readonly from: number; readonly to: number; readonly expiredBeforeMs: number }, fence: Fence): Promise<void> {
    const nowMs = now().getTime();
    const entry = encodeEntry({ type: "certificates.pruned", below: to, expiredBefore: new Date(expiredBeforeMs).toISOString() }, "system", nowMs);
    await store.commit({ kind: "prune", from, to, expiredBeforeMs, nowMs, fence, entries: [entry] });
  }

  function tick(untilMs = Infinity): Promise<number> {
    return (running ??= pass(untilMs).finally(() => (running = undefined)));
  }

  function schedule(): void {
    timer = setTimeout(() => {
      tick()
        .catch((err: unknown) => log.warn({ err }, "rows of ended certificates could not be removed; tried again"))
        .finally(() => closed || schedule());
    }, intervalMs * (0.5 + Math.random())).unref();
  }

  return {
    tick,
    start: schedule,
    async close() {
      closed = true;
      clearTimeout(timer);
      await running?.catch(() => undefined);
      await lease.close();
    },
  };
}

export interface PruningStep {
  /** How many rows of the page have ended. */
  readonly rows: number;
  /** Where the next page begins. */
  readonly to: number;
  /** What comes next was issued too late to have ended by then. */
  readonly done: boolean;
}

/** What of a page may be forgotten. */
export function planPruning(page: readonly CertificateEnd[], expiredBeforeMs: number): PruningStep {
  const last = page.at(-1);
  return {
    rows: page.filter(({ notAfterMs }) => notAfterMs < expiredBeforeMs).length,
    to: last === undefined ? 0 : last.logIndex + 1,
    // Rows are in the order of issuing, but for replicas whose clocks differ a little, and nothing ends before it begins.
    done: page.length < pageRows || last === undefined || last.issuedAtMs >= expiredBeforeMs,
  };
}

const pageRows = 1_000;
const maxSteps = 100_000;
/** 20 000 rows a second at the most, and some milliseconds of the log's lock in each 50. */
const pauseMs = 50;
const intervalMs = 60 * 60_000;
