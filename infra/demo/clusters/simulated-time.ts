/** From an instant of real time on, simulated time passes so many times faster. Both in ms since the epoch. */
export interface Pace {
  readonly fromMs: number;
  readonly factor: number;
}

/** Time as its paces have it, in order; the last one goes on. Pure. */
export function simulatedMs(paces: readonly Pace[], realMs: number): number {
  return paces.reduce((sum, { fromMs, factor }, index) => {
    const untilMs = Math.min(realMs, paces[index + 1]?.fromMs ?? Infinity);
    return sum + Math.max(0, untilMs - fromMs) * (factor - 1);
  }, realMs);
}

/** A clock and its timers, which follow a change of pace. */
export interface SimulatedClock {
  now(): number;
  after(delayMs: number, run: () => void): () => void;
  setPaces(paces: readonly Pace[]): void;
}

/** A clock that goes at the paces it is given. */
export function simulatedClock(first: readonly Pace[], realNow: () => number): SimulatedClock {
  let paces = first;
  const now = (): number => simulatedMs(paces, realNow());
  const waiting = new Set<() => void>();
  return {
    now,
    after(delayMs, run) {
      const dueMs = now() + delayMs;
      let timer: NodeJS.Timeout | undefined;
      const wait = (leftMs: number): void => {
        const factor = paces.findLast(({ fromMs }) => fromMs <= realNow())?.factor ?? 1;
        timer = setTimeout(look, Math.min(Math.max(Math.ceil(leftMs / factor), 0), lookAgainMs));
      };
      const look = (): void => {
        clearTimeout(timer);
        const leftMs = dueMs - now();
        if (leftMs > 0) return wait(leftMs);
        waiting.delete(look);
        run();
      };
      waiting.add(look);
      wait(delayMs);
      return () => {
        waiting.delete(look);
        clearTimeout(timer);
      };
    },
    setPaces(next) {
      paces = next;
      for (const look of [...waiting]) look();
    },
  };
}

/** So that a pace that begins meanwhile is noticed. */
const lookAgainMs = 100;
