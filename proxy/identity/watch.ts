import type { RevocationBatch } from "../../ca/contract/revocations.ts";
import type { TapNotice } from "../../ca/contract/taps.ts";
import type { PolicyNotice, RenewNotice } from "../../ca/contract/watch.ts";
import { readEpoch, readPolicyNotice, readRenewNotice, readRevocationBatch, readTapNotice, readValue } from "../ca-answer.ts";
import type { CaClient } from "../ca-client.ts";
import { CaError } from "../ca-error.ts";
import type { Clock } from "../clock.ts";
import type { StreamEvent } from "../event-stream.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { retryDelay, type Random } from "./backoff.ts";

/** Whom to follow, and whom to tell. A handler that throws ends the stream: its event is told again by the next one. */
export interface WatchDeps {
  readonly client: Pick<CaClient, "watch">;
  /** Of the last event before a restart. */
  readonly lastEventId: string | undefined;
  readonly onEpoch: (feedEpoch: string) => void;
  readonly onBundle: (text: string) => void;
  readonly onRevocations: (batch: RevocationBatch) => void;
  readonly onRenew: (notice: RenewNotice) => void;
  readonly onPolicy: (notice: PolicyNotice) => void;
  readonly onTap: (notice: TapNotice) => void;
  readonly onFederation: (text: string) => void;
  /** Something came, if only a sign of life, while everything was known. */
  readonly onAlive: () => void;
  /** The stream that had told everything has ended: from now on nothing is told. */
  readonly onBroken: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Times in milliseconds since the epoch. */
export interface WatchStatus {
  /** Since when all that the CA tells comes by the stream; undefined while it does not. */
  readonly liveSinceMs: number | undefined;
  readonly lastEventId: string | undefined;
  /** Why there is no stream. */
  readonly lastError: string | undefined;
}

/** A running watch. */
export interface Watch {
  status(): WatchStatus;
  stop(): void;
}

/** Follows the CA's feed by its stream, and opens another one whenever it ends. */
export function startWatch(deps: WatchDeps): Watch {
  const { client, clock, random, log } = deps;
  const streams = deps.metrics.counter("feed_streams_total", "Streams of the CA's feed that ended, by how.", ["result"]);
  const events = deps.metrics.counter("feed_events_total", "Events that the CA's feed told, by kind.", ["event"]);
  let { lastEventId } = deps;
  let liveSinceMs: number | undefined;
  let lastError: string | undefined;
  let failures = 0;
  let cancel = (): void => undefined;
  let stopped = false;

  async function follow(): Promise<void> {
    const error = await client.watch(lastEventId, { onEvent, onAlive }).then(() => undefined, (reason: unknown) => reason as Error);
    if (stopped) return;
    const livedMs = liveSinceMs === undefined ? 0 : clock.now() - liveSinceMs;
    failures = livedMs >= stableMs ? 0 : failures + 1;
    lastError = error?.message ?? "the CA ended the stream";
    streams.inc({ result: error === undefined ? "ended" : error instanceof CaError ? error.code : "internal" });
    const refused = error instanceof CaError && error.code === "ca_refused";
    const retryAfterMs = error instanceof CaError ? error.retryAfterMs : 0;
    const delayMs = failures === 0 ? Math.round(reconnectMs * random()) : retryDelay(failures, refused ? "refusal" : "renewal", random, retryAfterMs);
    if (liveSinceMs !== undefined || failures === 1) {
      log.warn({ error: lastError, retryInSeconds: Math.round(delayMs / 100) / 10 }, "no stream from the CA; bundle and revocations are polled meanwhile");
    }
    if (liveSinceMs !== undefined) {
      liveSinceMs = undefined;
      deps.onBroken();
    }
    cancel = clock.after(delayMs, () => void follow());
  }

  function onEvent({ event, data, id }: StreamEvent): void {
    if (stopped) return;
    if (event === "epoch") deps.onEpoch(readEpoch(readValue(data)));
    else if (event === "bundle") deps.onBundle(data);
    else if (event === "renew") deps.onRenew(readRenewNotice(readValue(data)));
    else if (event === "policy") deps.onPolicy(readPolicyNotice(readValue(data)));
    else if (event === "tap") deps.onTap(readTapNotice(readValue(data)));
    else if (event === "federation") deps.onFederation(data);
    else if (event === "revocation") takeRevocations(readRevocationBatch(readValue(data)));
    // A later version of the CA may tell more; its names must not fill the metrics.
    events.inc({ event: knownEvents.has(event) ? event : "other" });
    lastEventId = id ?? lastEventId;
  }

  function takeRevocations(batch: RevocationBatch): void {
    deps.onRevocations(batch);
    if (batch.more || liveSinceMs !== undefined) return;
    liveSinceMs = clock.now();
    lastError = undefined;
    log.info({}, "bundle and revocations come by the CA's stream");
  }

  function onAlive(): void {
    if (liveSinceMs !== undefined && !stopped) deps.onAlive();
  }

  void follow();
  return {
    status: () => ({ liveSinceMs, lastEventId, lastError }),
    stop() {
      stopped = true;
      cancel();
    },
  };
}

const knownEvents: ReadonlySet<string> = new Set(["epoch", "bundle", "revocation", "renew", "policy", "tap", "federation"]);
/** A stream that ends sooner was none: the next is opened with back-off. */
const stableMs = 10_000;
/** A CA that restarts loses all its streams at once. */
const reconnectMs = 1000;
