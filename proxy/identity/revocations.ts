import type { RevocationPage } from "../../ca/contract.ts";
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

export interface RevocationPolling {
  status(): RevocationStatus;
  stop(): void;
}

/** Asks for new revocations at once and then every `intervalMs`. A failure keeps the list, is reported once, and slows down. */
export function startRevocationPolling(deps: RevocationDeps): RevocationPolling {
  const { client, clock, random, log, intervalMs } = deps;
  const polls = deps.metrics.counter("countersign_proxy_revocation_polls_total", "Questions for new revocations, by result.", ["result"]);
  let list: DenyList = emptyDenyList;
  let lastSuccessMs: number | undefined;
  let lastError: string | undefined;
  let failures = 0;
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
      if (lastError === undefined) log.warn({ error: message, held: list.entries.size }, "cannot learn of new revocations; the list held stays in force");
      lastError = message;
    }
    if (stopped) return;
    const { kept, dropped } = withoutExpired(list, clock.now());
    list = kept;
    if (dropped > 0) {
      log.error({ dropped, held: list.entries.size }, "more revocations than are kept: those that expire first were dropped and would be accepted until they do");
    }
    if (list.entries !== before) deps.onRevoked(new Set(list.entries.keys()));
    cancel = clock.after(jittered(Math.max(intervalMs, failures === 0 ? 0 : slowDownMs(failures)), random), () => void poll());
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

/** Adds one page. A feed that has gone back (a database restored from a backup) is read again from its start; nothing is forgotten. */
export function addPage(list: DenyList, page: RevocationPage): DenyList {
  if (page.sequence < list.sequence) return { ...list, sequence: 0 };
  if (page.revocations.length === 0) return { ...list, sequence: page.sequence };
  const entries = new Map(list.entries);
  for (const { serialNumber, notAfter } of page.revocations) entries.set(serialNumber, Date.parse(notAfter));
  return { entries, sequence: page.sequence };
}

/** Forgets what no peer would accept any more; beyond `maxRevocations` also what expires first. */
export function withoutExpired({ entries, sequence }: DenyList, nowMs: number): { readonly kept: DenyList; readonly dropped: number } {
  const live = [...entries].filter(([, notAfterMs]) => nowMs < notAfterMs + expiredGraceMs);
  const dropped = Math.max(live.length - maxRevocations, 0);
  if (live.length === entries.size && dropped === 0) return { kept: { entries, sequence }, dropped };
  if (dropped > 0) live.sort(([, one], [, other]) => other - one).length = maxRevocations;
  return { kept: { entries: new Map(live), sequence }, dropped };
}

async function fetchAll(client: RevocationDeps["client"], start: DenyList, isStopped: () => boolean): Promise<DenyList> {
  let list = start;
  for (let pages = 0; pages < maxPagesPerPoll && !isStopped(); pages++) {
    const page = await client.revocations(list.sequence);
    const restarted = page.sequence < list.sequence;
    list = addPage(list, page);
    if (!restarted && !page.more) break;
  }
  return list;
}

function slowDownMs(failures: number): number {
  return Math.min(1000 * 2 ** Math.min(failures - 1, 10), maxFailureIntervalMs);
}

const emptyDenyList: DenyList = { entries: new Map(), sequence: 0 };
/** A certificate that expired on our clock by this much is refused for that reason alone. */
const expiredGraceMs = 60_000;
/** Within one certificate lifetime; about 40 MB. */
const maxRevocations = 250_000;
/** The next poll goes on where this one stopped. */
const maxPagesPerPoll = 1000;
/** The CA is back for this long at most before its revocations are in force again. */
const maxFailureIntervalMs = 10_000;
