import type { Log } from "../log.ts";
import { rateBuckets } from "../rate-buckets.ts";
import type { Store } from "../store/store.ts";
import { encodeEntry, type Actor, type AuditEvent } from "./event.ts";

export interface DenialRecorder {
  /** Writes the denial to the log, or counts it when there are too many. Never throws, never waits. */
  record(event: AuditEvent, actor: Actor): void;
  /** Writes what was counted for a minute or longer: for a process without timers. */
  flushDue(): void;
  /** Writes what was counted and waits for what is under way. */
  close(): Promise<void>;
}

/**
 * Records denials at a bounded rate, so that nobody can fill the disk by being refused: single entries while there are tokens
 * in the actor's bucket, then one `denials.suppressed` of that actor with their number when the minute is over. All strangers are
 * one actor: being refused costs them nothing, and must not hide what an insider tries; nor may one insider hide another.
 */
export function denialRecorder({ store, log, now, onDemand = false }: {
  readonly store: Pick<Store, "commit">;
  readonly log: Log;
  readonly now: () => Date;
  /** No timer: `flushDue` is called. */
  readonly onDemand?: boolean;
}): DenialRecorder {
  const each = rateBuckets({ perSecond: 10, burst: 100, maxIdentities: maxActors });
  const allKnown = rateBuckets({ perSecond: 50, burst: 1000 });
  const suppressed = new Map<Actor, number>();
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  let countingSinceMs: number | undefined;
  const underWay = new Set<Promise<void>>();

  function isWritten(actor: Actor): boolean {
    const nowMs = now().getTime();
    if (each.take(actor, nowMs) > 0) return false;
    return actor === stranger || allKnown.take("", nowMs) === 0;
  }

  function write(event: AuditEvent, actor: Actor): void {
    const written = store.commit({ kind: "record", entries: [encodeEntry(event, actor, now().getTime())] }).then(
      () => undefined,
      (error: unknown) => log.warn({ err: error, event: event.type }, "a denial could not be written to the audit log"),
    );
    underWay.add(written);
    void written.finally(() => underWay.delete(written));
  }

  function suppress(actor: Actor): void {
    const counted = suppressed.has(actor) || suppressed.size < maxActors ? actor : "system";
    suppressed.set(counted, (suppressed.get(counted) ?? 0) + 1);
    countingSinceMs ??= now().getTime();
    if (!onDemand) timer ??= setTimeout(flush, suppressedFlushMs).unref();
  }

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    countingSinceMs = undefined;
    for (const [actor, count] of suppressed) write({ type: "denials.suppressed", count }, actor);
    suppressed.clear();
  }

  return {
    record(event, actor) {
      if (closed) return;
      if (isWritten(actor)) write(event, actor);
      else suppress(actor);
    },
    flushDue() {
      if (countingSinceMs !== undefined && Math.abs(now().getTime() - countingSinceMs) >= suppressedFlushMs) flush();
    },
    async close() {
      closed = true;
      flush();
      await Promise.all(underWay);
    },
  };
}

const stranger: Actor = "anonymous";
/**
 * Each actor's 10 a second and the 50 of all known ones are 300 bytes each: 260 MB a day of strangers and 1.3 GB of insiders who
 * conspire, at worst; a real denial is rare.
 */
const maxActors = 1000;
const suppressedFlushMs = 60_000;
