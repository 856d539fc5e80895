import type { Log } from "../log.ts";
import type { Store } from "../store/store.ts";
import { encodeEntry, type Actor, type AuditEvent } from "./event.ts";

export interface DenialRecorder {
  /** Writes the denial to the log, or counts it when there are too many. Never throws, never waits. */
  record(event: AuditEvent, actor: Actor): void;
  /** Writes what was counted and waits for what is under way. */
  close(): Promise<void>;
}

/**
 * Records denials at a bounded rate, so that nobody can fill the disk by being refused: single entries while there are tokens
 * in the bucket, then one `denials.suppressed` with their number when the minute is over. Strangers and those we know have a bucket
 * each: being refused costs a stranger nothing, and must not hide what an insider tries.
 */
export function denialRecorder({ store, log, now }: { readonly store: Pick<Store, "commit">; readonly log: Log; readonly now: () => Date }): DenialRecorder {
  const strangers: Bucket = { allowance: burst, refilledAtMs: now().getTime() };
  const known: Bucket = { ...strangers };
  let suppressed = 0;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  const underWay = new Set<Promise<void>>();

  function write(event: AuditEvent, actor: Actor): void {
    const written = store.commit({ kind: "record", entries: [encodeEntry(event, actor, now().getTime())] }).then(
      () => undefined,
      (error: unknown) => log.warn({ err: error, event: event.type }, "a denial could not be written to the audit log"),
    );
    underWay.add(written);
    void written.finally(() => underWay.delete(written));
  }

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    if (suppressed === 0) return;
    write({ type: "denials.suppressed", count: suppressed }, "system");
    suppressed = 0;
  }

  return {
    record(event, actor) {
      if (closed) return;
      if (takeFrom(actor === "anonymous" ? strangers : known, now().getTime())) {
        write(event, actor);
        return;
      }
      suppressed += 1;
      timer ??= setTimeout(flush, suppressedFlushMs).unref();
    },
    async close() {
      closed = true;
      flush();
      await Promise.all(underWay);
    },
  };
}

interface Bucket {
  allowance: number;
  refilledAtMs: number;
}

function takeFrom(bucket: Bucket, nowMs: number): boolean {
  const sinceMs = Math.max(0, nowMs - bucket.refilledAtMs);
  bucket.allowance = Math.min(burst, bucket.allowance + (sinceMs / 1000) * perSecond);
  bucket.refilledAtMs = nowMs;
  if (bucket.allowance < 1) return false;
  bucket.allowance -= 1;
  return true;
}

/** For each bucket 10 entries a second of 300 bytes are 260 MB a day at worst; a real denial is rare. */
const perSecond = 10;
const burst = 100;
const suppressedFlushMs = 60_000;
