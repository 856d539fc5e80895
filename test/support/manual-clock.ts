import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../../proxy/clock.ts";

/** A clock that stands still until a test moves it. */
export interface ManualClock extends Clock {
  /** Moves on by `ms`, running what falls due on the way; `settle` comes first and after each. */
  advance(ms: number, settle?: () => Promise<void>): Promise<void>;
  /** Sets the time without running anything, as when a machine wakes up or its clock is corrected. */
  jump(ms: number): void;
  /** Delays of what is waiting, ascending, in ms from now. */
  waiting(): readonly number[];
}

export function manualClock(startMs: number): ManualClock {
  let nowMs = startMs;
  let elapsedMs = 0;
  const timers = new Set<{ readonly dueMs: number; readonly run: () => void }>();
  const earliest = (limitMs: number) => [...timers].filter(({ dueMs }) => dueMs <= limitMs).sort((one, other) => one.dueMs - other.dueMs)[0];
  return {
    now: () => nowMs,
    after(delayMs, run) {
      const timer = { dueMs: elapsedMs + Math.max(delayMs, 0), run };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    async advance(ms, settle = async () => void (await nextTurn())) {
      await settle();
      const endMs = elapsedMs + ms;
      for (let timer = earliest(endMs); timer !== undefined; timer = earliest(endMs)) {
        timers.delete(timer);
        nowMs += timer.dueMs - elapsedMs;
        elapsedMs = timer.dueMs;
        timer.run();
        await settle();
      }
      nowMs += endMs - elapsedMs;
      elapsedMs = endMs;
    },
    jump: (ms) => void (nowMs += ms),
    waiting: () => [...timers].map(({ dueMs }) => dueMs - elapsedMs).sort((one, other) => one - other),
  };
}

/** Waits, turn by turn of the event loop, until `condition` holds; a test that hangs here says what it waited for. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  for (const deadlineMs = performance.now() + patienceMs; !condition(); ) {
    if (performance.now() > deadlineMs) throw new Error(`waited in vain: ${what}`);
    await nextTurn();
  }
}

/** Less than a test has. */
const patienceMs = 60_000;
