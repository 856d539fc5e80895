import type { CaClient } from "../ca-client.ts";
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Counter } from "../metrics.ts";
import { jittered, type Random } from "./backoff.ts";

/** Whom to ask for bundles, and whom to tell. */
export interface BundlePollingDeps {
  readonly client: Pick<CaClient, "bundle">;
  /** What is asked for, in the log. */
  readonly subject: string;
  /** Looks, by `result`. */
  readonly refreshes: Counter;
  /** Until the first look; default: as long as between two. */
  readonly firstLookMs?: number;
  /** Takes what came. @throws when it is refused */
  readonly onBundle: (text: string) => void;
  /** Names the feed that the next bundle is of. */
  readonly onEpoch?: (feedEpoch: string) => void;
  /** True while bundles come by themselves: then the CA is not asked. */
  readonly isStreamed?: () => boolean;
  /** The publisher's wish, in seconds. */
  readonly refreshHintSeconds: () => number | undefined;
  /** Also done at each look: what does not come from the CA. */
  readonly refreshFiles: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Times in milliseconds since the epoch. */
export interface BundlePollingStatus {
  readonly lastSuccessMs: number | undefined;
  readonly lastError: string | undefined;
}

/** A running poll. */
export interface BundlePolling {
  status(): BundlePollingStatus;
  /** A bundle that came by the stream: one that is refused is asked for again. */
  take(text: string): void;
  /** Looks now: the stream broke, or what is held is no longer known to be of this CA's history. */
  lookNow(): void;
  stop(): void;
}

/** Looks for a new bundle at its refresh hint; the first look is one interval away. On failure the last good one stays. */
export function startBundlePolling(deps: BundlePollingDeps): BundlePolling {
  const { client, refreshes, clock, random, log } = deps;
  let etag: string | undefined;
  let status: BundlePollingStatus = { lastSuccessMs: undefined, lastError: undefined };
  let cancel = (): void => undefined;
  let asking = false;
  let stopped = false;

  async function poll(): Promise<void> {
    deps.refreshFiles();
    if (deps.isStreamed?.() !== true || status.lastError !== undefined) await ask();
    if (!stopped) wait();
  }

  async function ask(): Promise<void> {
    asking = true;
    try {
      const answer = await client.bundle(etag);
      if (stopped) return;
      if (answer?.feedEpoch !== undefined) deps.onEpoch?.(answer.feedEpoch);
      if (answer !== undefined) deps.onBundle(answer.text);
      etag = answer?.etag ?? etag;
      succeed(answer === undefined ? "unchanged" : "ok");
    } catch (error) {
      if (!stopped) fail(error as Error);
    } finally {
      asking = false;
    }
  }

  function succeed(result: "unchanged" | "ok"): void {
    refreshes.inc({ result });
    status = { lastSuccessMs: clock.now(), lastError: undefined };
  }

  function fail({ message }: Error): void {
    refreshes.inc({ result: "error" });
    log.warn({ error: message }, `${deps.subject} not refreshed; what was last good stays in force`);
    status = { ...status, lastError: message };
  }

  function wait(firstMs?: number): void {
    if (firstMs !== undefined) {
      cancel = clock.after(jittered(firstMs, random), () => void poll());
      return;
    }
    const hintMs = (deps.refreshHintSeconds() ?? defaultRefreshSeconds) * 1000;
    cancel = clock.after(jittered(Math.min(Math.max(hintMs, minRefreshMs), maxRefreshMs), random), () => void poll());
  }

  wait(deps.firstLookMs);
  return {
    status: () => status,
    take(text) {
      try {
        deps.onBundle(text);
        succeed("ok");
      } catch (error) {
        fail(error as Error);
      }
    },
    lookNow() {
      etag = undefined;
      if (asking || stopped) return;
      cancel();
      void poll();
    },
    stop() {
      stopped = true;
      cancel();
    },
  };
}

/** SPIFFE Trust Domain and Bundle 4.1.3 recommends five minutes where there is no hint. */
const defaultRefreshSeconds = 300;
const minRefreshMs = 5000;
const maxRefreshMs = 3_600_000;
