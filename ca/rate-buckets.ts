export interface RateBuckets {
  /**
   * Takes one from the identity's bucket.
   * @returns 0 when there was one, otherwise in how many milliseconds there will be
   */
  take(identity: string, nowMs: number): number;
}

/**
 * A token bucket for each identity, each holding `burst` and refilled by `perSecond`. One number is kept of a bucket: until when it
 * is used up (GCRA, ITU-T I.371). One that nobody took from for as long as it takes to fill is full, so it is forgotten.
 * @param maxIdentities  remembered twice over at most, some 100 bytes each; when more come, those that came first may be full again
 */
export function rateBuckets({ perSecond, burst, maxIdentities = defaultMaxIdentities }: {
  readonly perSecond: number;
  readonly burst: number;
  readonly maxIdentities?: number;
}): RateBuckets {
  const intervalMs = 1000 / perSecond;
  const fullMs = burst * intervalMs;
  let young = new Map<string, number>();
  let old = new Map<string, number>();
  let turnedAtMs = 0;

  return {
    take(identity, nowMs) {
      if (Math.abs(nowMs - turnedAtMs) >= fullMs || young.size >= maxIdentities) {
        old = young;
        young = new Map();
        turnedAtMs = nowMs;
      }
      const known = young.get(identity) ?? old.get(identity) ?? 0;
      // Further ahead than a whole bucket is from before the clock was set back.
      const usedUntilMs = known > nowMs && known <= nowMs + fullMs + intervalMs ? known : nowMs;
      const waitMs = usedUntilMs + intervalMs - (nowMs + fullMs);
      if (waitMs > roundingMs) return waitMs;
      young.set(identity, usedUntilMs + intervalMs);
      return 0;
    },
  };
}

/** Some 10 MB, and more identities than a CA of this size sees in the seconds a bucket takes to fill. */
const defaultMaxIdentities = 50_000;
/** Milliseconds since the epoch leave a double some 0.0002 ms of precision. */
const roundingMs = 0.01;
