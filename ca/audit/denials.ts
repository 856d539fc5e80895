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
 * in the bucket, then one `denials.suppressed` with their number when the minute is over.
 */
export function denialRecorder({ store, log, now }: { readonly store: Pick<Store, "commit">; readonly log: Log; readonly now: () => Date }): DenialRecorder {
  let allowance = burst;
  let refilledAtMs = now().getTime();
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
      const nowMs = now().getTime();
      allowance = Math.min(burst, allowance + (Math.max(0, nowMs - refilledAtMs) / 1000) * perSecond);
      refilledAtMs = nowMs;
      if (allowance >= 1) {
        allowance -= 1;
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

/** 10 entries a second of 300 bytes are 260 MB a day at worst; a real denial is rare. */
const perSecond = 10;
const burst = 100;
const suppressedFlushMs = 60_000;
