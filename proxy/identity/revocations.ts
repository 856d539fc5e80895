import type { RevocationBatch } from "../../ca/contract/revocations.ts";
import type { RenewNotice } from "../../ca/contract/watch.ts";
import type { CaClient } from "../ca-client.ts";
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { jittered, type Random } from "./backoff.ts";

/** A deny-list that was read to its end once. */
export interface DenyList {
  /** Serial number -> when its certificate would have expired, ms since the epoch. */
  readonly entries: ReadonlyMap<string, number>;
  /** `after` of the next question. */
  readonly sequence: number;
  /** When it last had everything that was revoked, ms since the epoch. */
  readonly completeAtMs: number;
}

/** Whom to ask for revocations, and whom to tell. */
export interface RevocationDeps {
  readonly client: Pick<CaClient, "revocations">;
  /** What a restart goes on with: in force at once, however old, since a CA that is down must not take us down. */
  readonly restored?: DenyList | undefined;
  /** Gets the first whole set and every one that differs from the one before; undefined when none is whole any more. */
  readonly onRevoked: (serialNumbers: ReadonlySet<string> | undefined) => void;
  /** Names the feed, before anything of a page is taken. */
  readonly onEpoch?: (feedEpoch: string) => void;
  readonly onRenew?: (notice: RenewNotice) => void;
  /** True while revocations come by themselves: then the CA is not asked. */
  readonly isStreamed?: () => boolean;
  /** Keeps the list for a restart: after each change, and now and then for its age. */
  readonly onComplete?: (list: DenyList) => void;
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Most entries kept. Default 250 000. */
  readonly maxEntries?: number;
}

/** Times in milliseconds since the epoch. */
export interface RevocationStatus {
  readonly held: number;
  readonly sequence: number;
  /** When the list was last complete, maybe before a restart. */
  readonly lastSuccessMs: number | undefined;
  /** How long ago that was. */
  readonly ageSeconds: number | undefined;
  readonly lastError: string | undefined;
}

/** A running poll. */
export interface RevocationPolling {
  status(): RevocationStatus;
  /** What came by the stream. @throws when it does not fit: it has to be told again then */
  take(batch: RevocationBatch): void;
  /** The stream lives, so nothing else is revoked. */
  heard(): void;
  /** The feed is another one: it is read from its start, and nothing is forgotten. */
  beginAnew(): void;
  /** Asks now: the stream broke. */
  lookNow(): void;
  stop(): void;
}

/**
 * Asks for new revocations at once and then every `intervalMs`. Nothing is in force before the feed was read to its end once,
 * here or before a restart; from then on a failure keeps the list and what was read so far, is reported once, and slows down.
 */
export function startRevocationPolling(deps: RevocationDeps): RevocationPolling {
  const { client, restored, clock, random, log, intervalMs, maxEntries = maxRevocations } = deps;
  const polls = deps.metrics.counter("revocation_polls_total", "Questions for new revocations, by result.", ["result"]);
  const entries = new Map(restored?.entries);
  let sequence = restored?.sequence ?? 0;
  let completeAtMs = restored?.completeAtMs;
  let full = false;
  let changed = false;
  let told = false;
  let kept = restored && { sequence, completeAtMs: restored.completeAtMs };
  let lastError: string | undefined;
  let failures = 0;
  let nextPruneMs = 0;
  let cancel = (): void => undefined;
  let asking = false;
  let stopped = false;

  async function poll(): Promise<void> {
    prune();
    if (deps.isStreamed?.() !== true) await ask();
    if (stopped) return;
    tell();
    cancel = clock.after(jittered(Math.max(intervalMs, failures === 0 ? 0 : slowDownMs(failures)), random), () => void poll());
  }

  async function ask(): Promise<void> {
    asking = true;
    try {
      await readToEnd();
      if (stopped) return;
      polls.inc({ result: "ok" });
      succeed();
    } catch (error) {
      if (!stopped) fail(error as Error);
    } finally {
      asking = false;
    }
  }

  function succeed(): void {
    if (lastError !== undefined) log.info({ held: entries.size, failures }, "revocations are up to date again");
    completeAtMs = clock.now();
    full = false;
    lastError = undefined;
    failures = 0;
  }

  /** Takes page by page, so that what was read stays when a later one cannot be had. */
  async function readToEnd(): Promise<void> {
    for (let pages = 0; pages < maxPagesPerPoll; pages++) {
      const after = sequence;
      const page = await client.revocations(after);
      if (stopped) return;
      if (page.feedEpoch !== undefined) deps.onEpoch?.(page.feedEpoch);
      for (const notice of page.renew) deps.onRenew?.(notice);
      // The stream was faster, or the feed is another one by now: what this page says about where it ends is old.
      if (sequence !== after) {
        add(page.revocations);
        continue;
      }
      if (page.sequence < sequence) {
        // The feed went back: a database was restored from a backup. It is read again from its start, and nothing is forgotten.
        sequence = 0;
        continue;
      }
      add(page.revocations);
      sequence = page.sequence;
      if (!page.more) return;
    }
    throw new Error(`the CA's revocations did not end within ${maxPagesPerPoll} pages`);
  }

  function add(revocations: RevocationBatch["revocations"]): void {
    const nowMs = clock.now();
    const fresh = revocations
      .map(({ serialNumber, notAfter }) => [serialNumber, Date.parse(notAfter)] as const)
      .filter(([serialNumber, notAfterMs]) => !entries.has(serialNumber) && !isOver(notAfterMs, nowMs));
    if (entries.size + fresh.length > maxEntries) throw new DenyListFull(maxEntries);
    for (const [serialNumber, notAfterMs] of fresh) entries.set(serialNumber, notAfterMs);
    changed ||= fresh.length > 0;
  }

  function fail(error: Error): void {
    const { message } = error;
    const fits = !(error instanceof DenyListFull);
    failures += 1;
    polls.inc({ result: fits ? "error" : "full" });
    if (!fits && !full) {
      log.error({ error: message, held: entries.size }, "the list of revocations does not fit: every peer is refused until it does");
    } else if (lastError === undefined) {
      const effect = completeAtMs === undefined ? "every peer is refused until the list is known" : "the list held stays in force";
      log.warn({ error: message, held: entries.size }, `cannot learn of new revocations; ${effect}`);
    }
    // A CA that cannot be reached meanwhile does not make the list fit.
    full ||= !fits;
    lastError = message;
  }

  /** Whoever does not know all that is revoked must not say that a peer is not. */
  function tell(): void {
    if (completeAtMs === undefined) return;
    if (full) {
      if (told) deps.onRevoked(undefined);
      told = false;
      return;
    }
    if (!told) log.info({ held: entries.size, completeAt: new Date(completeAtMs).toISOString() }, "revocations in force");
    if (changed || !told) deps.onRevoked(new Set(entries.keys()));
    told = true;
    if (changed || sequence !== kept?.sequence || completeAtMs >= kept.completeAtMs + keepIntervalMs) {
      deps.onComplete?.({ entries, sequence, completeAtMs });
      kept = { sequence, completeAtMs };
    }
    changed = false;
  }

  /** Forgets what no peer would accept any more. Looks at every entry, so not at every poll. */
  function prune(): void {
    const nowMs = clock.now();
    if (nowMs < nextPruneMs) return;
    nextPruneMs = nowMs + pruneIntervalMs;
    for (const [serialNumber, notAfterMs] of entries) {
      if (isOver(notAfterMs, nowMs)) changed = entries.delete(serialNumber) || changed;
    }
  }

  tell();
  void poll();
  return {
    status: () => ({
      held: entries.size, sequence, lastError, lastSuccessMs: completeAtMs,
      ageSeconds: completeAtMs === undefined ? undefined : Math.max(clock.now() - completeAtMs, 0) / 1000,
    }),
    take(batch) {
      try {
        add(batch.revocations);
      } catch (error) {
        fail(error as Error);
        tell();
        throw error;
      }
      sequence = batch.sequence;
      if (!batch.more) succeed();
      tell();
    },
    heard() {
      completeAtMs = clock.now();
    },
    beginAnew() {
      sequence = 0;
    },
    lookNow() {
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

/** To leave out an entry would be to accept a revoked peer. */
class DenyListFull extends Error {
  override readonly name = "DenyListFull";

  constructor(limit: number) {
    super(`the CA lists more than the ${limit} revocations that are kept; shorten certificate lifetimes, ` +
      "or replace an issuer instead of revoking its certificates one by one");
  }
}

/** No peer would accept its certificate any more, revoked or not. */
function isOver(notAfterMs: number, nowMs: number): boolean {
  return nowMs >= notAfterMs + expiredGraceMs;
}

function slowDownMs(failures: number): number {
  return Math.min(1000 * 2 ** Math.min(failures - 1, 10), maxFailureIntervalMs);
}

/** A certificate that expired on our clock by this much is refused for that reason alone. */
const expiredGraceMs = 60_000;
const pruneIntervalMs = 60_000;
/** How far behind the age of a stored list may be. */
const keepIntervalMs = 60_000;
/** Within one certificate lifetime; about 40 MB. */
const maxRevocations = 250_000;
/** The next poll goes on where this one stopped. */
const maxPagesPerPoll = 1000;
/** The CA is back for this long at most before its revocations are in force again. */
const maxFailureIntervalMs = 10_000;
