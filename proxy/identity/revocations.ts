import type { CaClient } from "../ca-client.ts";
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { jittered, type Random } from "./backoff.ts";

/** What is known of the deny-list: serial number -> when its certificate would have expired, ms since the epoch. */
export interface DenyList {
  readonly entries: ReadonlyMap<string, number>;
  /** `after` of the next question. */
  readonly sequence: number;
}

/** Whom to ask for revocations, and whom to tell. */
export interface RevocationDeps {
  readonly client: Pick<CaClient, "revocations">;
  /** Gets every set that differs from the one before. */
  readonly onRevoked: (serialNumbers: ReadonlySet<string>) => void;
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Times in milliseconds since the epoch. */
export interface RevocationStatus {
  readonly held: number;
  readonly sequence: number;
  readonly lastSuccessMs: number | undefined;
  readonly lastError: string | undefined;
}

/** A running poll. */
export interface RevocationPolling {
  status(): RevocationStatus;
  stop(): void;
}

/** Asks for new revocations at once and then every `intervalMs`. A failure keeps the list, is reported once, and slows down. */
export function startRevocationPolling(deps: RevocationDeps): RevocationPolling {
  const { client, clock, random, log, intervalMs } = deps;
  const polls = deps.metrics.counter("revocation_polls_total", "Questions for new revocations, by result.", ["result"]);
  let list: DenyList = emptyDenyList;
  let lastSuccessMs: number | undefined;
  let lastError: string | undefined;
  let failures = 0;
  let nextPruneMs = 0;
  let cancel = (): void => undefined;
  let stopped = false;

  async function poll(): Promise<void> {
    const before = list.entries;
    try {
      list = await fetchAll(client, list, () => stopped);
      if (lastError !== undefined) log.info({ held: list.entries.size, failures }, "revocations are up to date again");
      lastSuccessMs = clock.now();
      lastError = undefined;
      failures = 0;
      polls.inc({ result: "ok" });
    } catch (error) {
      failures += 1;
      polls.inc({ result: "error" });
      const message = (error as Error).message;
      if (lastError === undefined) {
        log.warn(
          { error: message, held: list.entries.size }, "cannot learn of new revocations; the list held stays in force",
        );
      }
      lastError = message;
    }
    if (stopped) return;
    if (list.entries !== before || clock.now() >= nextPruneMs) prune();
    if (list.entries !== before) deps.onRevoked(new Set(list.entries.keys()));
    cancel = clock.after(jittered(Math.max(intervalMs, failures === 0 ? 0 : slowDownMs(failures)), random), () => void poll());
  }

  /** Looks at every entry, so not at every poll. */
  function prune(): void {
    const { kept, dropped } = withoutExpired(list, clock.now());
    list = kept;
    nextPruneMs = clock.now() + pruneIntervalMs;
    if (dropped > 0) {
      log.error(
        { dropped, held: list.entries.size },
        "more revocations than are kept: those that expire first were dropped and would be accepted until they do",
      );
    }
  }

  void poll();
  return {
    status: () => ({ held: list.entries.size, sequence: list.sequence, lastSuccessMs, lastError }),
    stop() {
      stopped = true;
      cancel();
    },
  };
}

/** Forgets what no peer would accept any more; beyond `limit` also what expires first. */
export function withoutExpired(
  { entries, sequence }: DenyList, nowMs: number, limit = maxRevocations,
): { readonly kept: DenyList; readonly dropped: number } {
  const live = [...entries].filter(([, notAfterMs]) => nowMs < notAfterMs + expiredGraceMs);
  const dropped = Math.max(live.length - limit, 0);
  if (live.length === entries.size && dropped === 0) return { kept: { entries, sequence }, dropped };
  if (dropped > 0) live.sort(([, one], [, other]) => other - one).length = limit;
  return { kept: { entries: new Map(live), sequence }, dropped };
}

/** Reads pages until there is nothing more; the same map comes back when nothing was new. */
async function fetchAll(client: RevocationDeps["client"], start: DenyList, isStopped: () => boolean): Promise<DenyList> {
  let { entries, sequence }: DenyList = start;
  let added: Map<string, number> | undefined;
  for (let pages = 0; pages < maxPagesPerPoll && !isStopped(); pages++) {
    const page = await client.revocations(sequence);
    if (page.sequence < sequence) {
      // The feed went back: a database was restored from a backup. It is read again from its start, and nothing is forgotten.
      sequence = 0;
      continue;
    }
    sequence = page.sequence;
    if (page.revocations.length > 0) entries = added ??= new Map(entries);
    for (const { serialNumber, notAfter } of page.revocations) added?.set(serialNumber, Date.parse(notAfter));
    if (!page.more) break;
  }
  return { entries, sequence };
}

function slowDownMs(failures: number): number {
  return Math.min(1000 * 2 ** Math.min(failures - 1, 10), maxFailureIntervalMs);
}

const emptyDenyList: DenyList = { entries: new Map(), sequence: 0 };
/** A certificate that expired on our clock by this much is refused for that reason alone. */
const expiredGraceMs = 60_000;
const pruneIntervalMs = 60_000;
/** Within one certificate lifetime; about 40 MB. */
const maxRevocations = 250_000;
/** The next poll goes on where this one stopped. */
const maxPagesPerPoll = 1000;
/** The CA is back for this long at most before its revocations are in force again. */
const maxFailureIntervalMs = 10_000;
