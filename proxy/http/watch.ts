import { performance } from "node:perf_hooks";

/** Looks after many connections with one timer: a timer for each would cost more than the limits are worth. */
export interface IdleWatch {
  /** Milliseconds since some moment, as exact as the interval. */
  nowMs(): number;
  /** Has `check` called every interval. @returns ends that */
  add(check: (nowMs: number) => void): () => void;
  stop(): void;
}

/** @param intervalMs how exactly limits are kept */
export function idleWatch(intervalMs: number): IdleWatch {
  const checks = new Set<(nowMs: number) => void>();
  let nowMs = performance.now();
  const timer = setInterval(() => {
    nowMs = performance.now();
    for (const check of checks) check(nowMs);
  }, intervalMs);
  timer.unref();
  return {
    nowMs: () => nowMs,
    add(check) {
      checks.add(check);
      return () => void checks.delete(check);
    },
    stop: () => clearInterval(timer),
  };
}

/** A look at 10 000 connections costs a fraction of a millisecond. @param shortestMs the shortest limit that is kept */
export const watchIntervalMs = (shortestMs: number): number => Math.min(1000, Math.max(10, shortestMs / 4));
