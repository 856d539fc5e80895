/** Time as an argument, so that a day passes in a test within a millisecond. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Runs once, `delayMs` from now (at most `maxDelayMs`). @returns cancels it */
  after(delayMs: number, run: () => void): () => void;
}

/** The machine's clock and timers. */
export const systemClock: Clock = {
  now: Date.now,
  after(delayMs, run) {
    const timer = setTimeout(run, Math.min(Math.max(delayMs, 0), maxDelayMs));
    return () => clearTimeout(timer);
  },
};

/**
 * Runs once when the clock has reached `timeMs`, however far away. It looks at the clock once a minute, so a machine that
 * slept or was set right is noticed; a single timer would be late by as much (and run at once beyond 2^31 ms).
 * @returns cancels it
 */
export function atTime(clock: Clock, timeMs: number, run: () => void): () => void {
  let cancel: () => void;
  const wait = (): void => {
    const leftMs = timeMs - clock.now();
    cancel = leftMs > lookIntervalMs ? clock.after(lookIntervalMs, wait) : clock.after(Math.max(leftMs, 0), arrive);
  };
  const arrive = (): void => (clock.now() >= timeMs ? run() : wait());
  wait();
  return () => cancel();
}

/** The most a Node timer takes; beyond, it fires after 1 ms. */
const maxDelayMs = 2 ** 31 - 1;
const lookIntervalMs = 60_000;
