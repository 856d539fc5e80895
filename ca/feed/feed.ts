import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import { Refusal } from "../refusal.ts";
import type { FeedPosition } from "../store/rows/feed.ts";
import type { Store } from "../store/store.ts";
import { beginning, cursorAt, resumeFrom, sourceNames, type Cursor, type SourceName } from "./cursor.ts";
import { watcherPlaces, type Follower } from "./places.ts";
import { feedSources, type SourceDeps } from "./sources.ts";
import { framesOf, openWatcher, type WatchEnd, type Watcher } from "./watcher.ts";

export interface FeedDeps extends SourceDeps {
  readonly store: Pick<Store, "feedPosition" | "revocations" | "announcements" | "reports">;
  readonly maxWatchers: number;
  readonly metrics: Pick<CaMetrics, "watching" | "watchEnded">;
  readonly log: Log;
  readonly limits?: Partial<Readonly<Record<keyof typeof feedLimits, number>>>;
}

/** Tells everybody who is connected what changed. */
export interface Feed {
  /**
   * The events behind `lastEventId`, and from then on all that come, or until another needs the follower's place more.
   * @param names  of these alone
   * @throws {Refusal} watchers_full
   * @throws {StoreError} store_unavailable
   */
  watch(lastEventId: string | undefined, follower: Follower, names?: readonly SourceName[]): Promise<ReadableStream<Uint8Array>>;
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
  const { store, metrics, log } = deps;
  const { pollIntervalMs, heartbeatIntervalMs, maxBlindMs } = { ...feedLimits, ...deps.limits };
  const sources = feedSources(deps);
  const places = watcherPlaces(deps.maxWatchers);
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
    // Mostly there is nothing to tell: each of thousands who come at once after a restart is one look.
    if (sourceNames.every((name) => told[name] === newest[name])) return;
    const live = [...watchers].filter((watcher) => watcher.isLive());
    for (const name of sourceNames) {
      const [after, until] = [told[name], newest[name]];
      if (after === until) continue;
      if (live.length > 0 && after < until) {
        const { data, sequence, more } = await sources[name](after, until);
        told = { ...told, [name]: sequence };
        const frames = framesOf(feedEpoch, name, data, told);
        for (const watcher of live) more ? watcher.fallBehind(name) : watcher.push(name, frames, told);
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

  return {
    async watch(lastEventId, follower, names) {
      if (closed) throw refused("This replica is stopping.");
      let watcher: Watcher | undefined;
      let displaced = false;
      const leave = places.take(follower, () => {
        displaced = true;
        watcher?.end("displaced");
      });
      if (leave === undefined) throw refused(follower.proven ? allTaken : takenByStrangers);
      try {
        await look();
      } catch (error) {
        leave();
        throw error;
      }
      if (closed || displaced) {
        leave();
        throw refused(closed ? "This replica is stopping." : allTaken);
      }
      const opened = openWatcher({
        feedEpoch, names, from: resumeFrom(lastEventId, feedEpoch, newest), newest: () => newest,
        read: (name, after) => sources[name](after, newest[name]),
        onEnd(why) {
          watchers.delete(opened);
          leave();
          metrics.watching(watchers.size);
          metrics.watchEnded(why);
        },
      });
      watcher = opened;
      watchers.add(opened);
      metrics.watching(watchers.size);
      if (poll === undefined) schedule();
      heartbeat ??= setInterval(() => [...watchers].forEach((each) => each.heartbeat()), heartbeatIntervalMs).unref();
      return opened.stream;
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

function refused(why: string): Refusal {
  return new Refusal("watchers_full", `${why} Poll GET /v1/bundle and GET /v1/revocations, and try again in ${retryAfterSeconds} s plus a random part of ${retryAfterSeconds * 2} s.`, { retryAfterSeconds });
}

/** What a CA says that runs for one request at a time, and so keeps no stream. */
export function refuseStream(): Refusal {
  return new Refusal("watchers_full", "This CA runs on demand and keeps no stream open. Poll GET /v1/bundle and GET /v1/revocations.", { retryAfterSeconds: noStreamRetrySeconds });
}

const allTaken = "As many readers follow the feed already as the setting maxWatchers allows.";
const takenByStrangers = "All places for readers that prove no identity are taken, or for those of this address; a request signed by an SVID gets one of the others.";
/** What somebody waits who found no place: as long as a proxy waits to reconnect. */
const retryAfterSeconds = 10;
/** As a rule it never will: a proxy asks again in case the CA was moved. */
const noStreamRetrySeconds = 600;

const feedLimits = {
  /** How late a replica tells what another one did: a quarter of the second within which everybody shall refuse a revoked certificate. */
  pollIntervalMs: 250,
  /** Below what load balancers cut idle connections after (60 s is common); a proxy gives up after three. */
  heartbeatIntervalMs: 15_000,
  maxBlindMs: 5_000,
} as const;
