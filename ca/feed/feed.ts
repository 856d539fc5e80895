import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import { Refusal } from "../refusal.ts";
import type { FeedPosition, Store } from "../store/store.ts";
import { beginning, cursorAt, resumeFrom, sourceNames, type Cursor } from "./cursor.ts";
import { feedSources, type SourceDeps } from "./sources.ts";
import { framesOf, openWatcher, type WatchEnd, type Watcher } from "./watcher.ts";

export interface FeedDeps extends SourceDeps {
  readonly store: Pick<Store, "feedPosition" | "revocations" | "announcements">;
  readonly maxWatchers: number;
  readonly metrics: Pick<CaMetrics, "watching" | "watchEnded">;
  readonly log: Log;
  readonly limits?: Partial<Readonly<Record<keyof typeof feedLimits, number>>>;
}

/** Tells everybody who is connected what changed. */
export interface Feed {
  /**
   * The events behind `lastEventId`, and from then on all that come.
   * @throws {Refusal} watchers_full
   * @throws {StoreError} store_unavailable
   */
  watch(lastEventId: string | undefined): Promise<ReadableStream<Uint8Array>>;
  /** Looks at once: something has landed here that readers wait for. */
  nudge(): void;
  /** Ends every stream; later ones are refused. */
  close(): void;
}

/**
 * Follows the store for all watchers together: one cheap look at its position, at once after a commit of ours and several times a
 * second for those of other replicas, as long as anybody watches. What is new is read and encoded once.
 */
export function openFeed(deps: FeedDeps): Feed {
  const { store, metrics, log, maxWatchers } = deps;
  const { pollIntervalMs, heartbeatIntervalMs, maxBlindMs } = { ...feedLimits, ...deps.limits };
  const sources = feedSources(deps);
  const watchers = new Set<Watcher>();
  let feedEpoch = "";
  let newest: Cursor = beginning;
  /** What live watchers have. */
  let told: Cursor = beginning;
  let looking: Promise<void> | undefined;
  let lookAgain = false;
  let seenAtMs = -Infinity;
  let failing = false;
  let poll: NodeJS.Timeout | undefined;
  let heartbeat: NodeJS.Timeout | undefined;
  let closed = false;

  /** One look at a time; who asks while one is under way waits for another after it. */
  function look(): Promise<void> {
    lookAgain = true;
    return looking ??= (async () => {
      try {
        while (lookAgain) {
          lookAgain = false;
          await tell(await store.feedPosition());
        }
      } finally {
        looking = undefined;
      }
    })();
  }

  async function tell(position: FeedPosition): Promise<void> {
    if (position.feedEpoch !== feedEpoch) endAll("restored");
    feedEpoch = position.feedEpoch;
    newest = cursorAt(position);
    seenAtMs = performance.now();
    const live = [...watchers].filter((watcher) => watcher.isLive());
    for (const name of sourceNames) {
      const [after, until] = [told[name], newest[name]];
      if (after === until) continue;
      if (live.length > 0 && after < until) {
        const { data, sequence, more } = await sources[name](after, until);
        told = { ...told, [name]: sequence };
        const frames = framesOf(feedEpoch, name, data, told);
        for (const watcher of live) more ? watcher.fallBehind() : watcher.push(frames, told);
      }
      told = { ...told, [name]: until };
    }
  }

  async function onPoll(): Promise<void> {
    try {
      await look();
      failing = false;
    } catch (err) {
      if (!failing) log.warn({ err }, "the feed cannot read the database; its readers are told nothing meanwhile");
      failing = true;
      // Who hears heartbeats believes to be up to date: better to look elsewhere.
      if (performance.now() - seenAtMs > maxBlindMs) endAll("blind");
    }
    schedule();
  }

  function schedule(): void {
    clearTimeout(poll);
    poll = watchers.size > 0 && !closed ? setTimeout(() => void onPoll(), pollIntervalMs).unref() : undefined;
  }

  function endAll(why: WatchEnd): void {
    for (const watcher of [...watchers]) watcher.end(why);
  }

  function refuseAbove(limit: number): void {
    if (!closed && watchers.size < limit) return;
    const why = closed ? "This replica is stopping." : `${limit} readers follow the feed already, as many as the setting maxWatchers allows.`;
    throw new Refusal("watchers_full", `${why} Poll GET /v1/bundle and GET /v1/revocations, and try again later.`, { retryAfterSeconds });
  }

  return {
    async watch(lastEventId) {
      refuseAbove(maxWatchers);
      await look();
      refuseAbove(maxWatchers);
      const watcher = openWatcher({
        feedEpoch, from: resumeFrom(lastEventId, feedEpoch, newest), newest: () => newest,
        read: (name, after) => sources[name](after, newest[name]),
        onEnd(why) {
          watchers.delete(watcher);
          metrics.watching(watchers.size);
          metrics.watchEnded(why);
        },
      });
      watchers.add(watcher);
      metrics.watching(watchers.size);
      if (poll === undefined) schedule();
      heartbeat ??= setInterval(() => [...watchers].forEach((each) => each.heartbeat()), heartbeatIntervalMs).unref();
      return watcher.stream;
    },
    nudge() {
      // A failure is the next poll's business.
      if (watchers.size > 0) look().catch(() => undefined);
    },
    close() {
      closed = true;
      clearTimeout(poll);
      clearInterval(heartbeat);
      endAll("closing");
    },
  };
}

/** What somebody waits who found no place: as long as a proxy waits to reconnect. */
const retryAfterSeconds = 10;

export const feedLimits = {
  /** How late a replica tells what another one did: a quarter of the second within which everybody shall refuse a revoked certificate. */
  pollIntervalMs: 250,
  /** Below what load balancers cut idle connections after (60 s is common); a proxy gives up after three. */
  heartbeatIntervalMs: 15_000,
  maxBlindMs: 5_000,
} as const;
