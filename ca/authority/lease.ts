import { randomUUID } from "node:crypto";
import type { Log } from "../log.ts";
import type { Fence } from "../store/rows/leases.ts";
import type { Store } from "../store/store.ts";

/** A replica's part in work that one replica does at a time. */
export interface LeaseKeeper {
  /**
   * The fence to commit that work with, or undefined while another replica holds the lease. From memory as long as the lease was
   * renewed lately, else it is asked for.
   * @throws {StoreError} store_unavailable
   */
  hold(): Promise<Fence | undefined>;
  /** Renews at a third of the ttl from now on, and takes the lease when it is free. */
  start(): void;
  /** Stops, and gives the lease up so that another replica need not wait for its end. */
  close(): Promise<void>;
}

export interface LeaseDeps {
  readonly store: Pick<Store, "acquireLease" | "releaseLease">;
  /** What the work is called: one lease for each kind. */
  readonly name: string;
  readonly log: Log;
  /** Milliseconds of a clock that nobody sets. */
  readonly monotonicMs?: () => number;
  readonly ttlMs?: number;
}

/**
 * Keeps a lease for this process. What its memory says may be stale, after SIGSTOP for example: the fence, which the store checks
 * in the commit, is what keeps two replicas from the same work.
 */
export function leaseKeeper({ store, name, log, monotonicMs = () => performance.now(), ttlMs = leaseTtlMs }: LeaseDeps): LeaseKeeper {
  const holder = randomUUID();
  let fence: Fence | undefined;
  let freshUntilMs = -Infinity;
  let asking: Promise<Fence | undefined> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  async function ask(): Promise<Fence | undefined> {
    // Before the question: the lease may have been given at any time until the answer.
    const askedAtMs = monotonicMs();
    const answer = await store.acquireLease({ name, holder, ttlMs });
    if (answer.held && fence?.token !== answer.token) log.info({ lease: name, fence: answer.token }, "this replica holds the lease");
    if (!answer.held && fence !== undefined) log.warn({ lease: name }, "another replica has taken the lease");
    fence = answer.held ? { lease: name, token: answer.token } : undefined;
    freshUntilMs = answer.held ? askedAtMs + ttlMs : -Infinity;
    return fence;
  }

  function askOnce(): Promise<Fence | undefined> {
    return (asking ??= ask().finally(() => (asking = undefined)));
  }

  function schedule(): void {
    timer = setTimeout(() => {
      askOnce()
        .catch((err: unknown) => log.warn({ err, lease: name }, "the lease cannot be asked for; tried again"))
        .finally(() => closed || schedule());
    }, ttlMs / 3);
    timer.unref();
  }

  return {
    async hold() {
      if (closed) return undefined;
      return monotonicMs() < freshUntilMs ? fence : askOnce();
    },
    start() {
      schedule();
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await asking?.catch(() => undefined);
      if (fence === undefined) return;
      fence = undefined;
      await store.releaseLease({ name, holder }).catch((err: unknown) => log.warn({ err, lease: name }, "the lease was not given up; it ends by itself"));
    },
  };
}

/** How long work waits at most after its replica died; renewed three times in that time. */
export const leaseTtlMs = 15_000;
