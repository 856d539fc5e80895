import type { Log } from "../log.ts";

/** What federation does again and again. */
export interface Rounds {
  /** Does all that is due, to its end; for tests and hosts without timers. Never rejects. */
  tick(): Promise<void>;
  start(): void;
  close(): Promise<void>;
}

/** Work that goes on behind a round. */
export interface Begun {
  /** When all of it is over. */
  settled(): Promise<void>;
  /** What has not begun yet does not. */
  stop(): void;
}

/**
 * One round at a time, its parts one after another; one that fails keeps none of the others from its turn.
 * @param parts  each says whether it had nothing to do
 * @param begun  what they began, for which the next round does not wait
 */
export function rounds(parts: readonly (() => Promise<boolean>)[], begun: Begun, log: Log): Rounds {
  let running: Promise<boolean> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  async function round(): Promise<boolean> {
    let idle = true;
    for (const part of parts) {
      idle = await part().catch((err: unknown) => {
        log.error({ err }, "looking after federation failed; tried again");
        return false;
      }) && idle;
    }
    return idle;
  }

  function runOnce(): Promise<boolean> {
    return (running ??= round().finally(() => (running = undefined)));
  }

  function schedule(idle: boolean): void {
    if (!closed) timer = setTimeout(() => void runOnce().then(schedule), idle ? idleMs : roundMs).unref();
  }

  return {
    async tick() {
      await runOnce();
      await begun.settled();
    },
    start: () => schedule(false),
    async close() {
      closed = true;
      clearTimeout(timer);
      await running;
      begun.stop();
      await begun.settled();
    },
  };
}

const roundMs = 1_000;
/** Where there is nothing to look for, or another replica does. */
const idleMs = 5_000;
