import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { rateBuckets } from "../../ca/rate-buckets.ts";

const startMs = 1_800_000_000_000;

/** How many of `count` are let in at one instant. */
function admitted(take: (identity: string, nowMs: number) => number, identity: string, nowMs: number, count: number): number {
  return Array.from({ length: count }, () => take(identity, nowMs)).filter((waitMs) => waitMs === 0).length;
}

describe("a bucket", () => {
  test("gives its burst at once, then what flows in", () => {
    const { take } = rateBuckets({ perSecond: 5, burst: 20 });
    expect(admitted(take, "a", startMs, 100)).toBe(20);
    expect(admitted(take, "a", startMs + 1000, 100)).toBe(5);
    expect(admitted(take, "a", startMs + 1000, 100)).toBe(0);
    expect(admitted(take, "a", startMs + 60_000, 100)).toBe(20);
  });

  test("says when there will be one, and then there is", () => {
    const { take } = rateBuckets({ perSecond: 4, burst: 1 });
    expect(take("a", startMs)).toBe(0);
    const waitMs = take("a", startMs);
    expect(waitMs).toBeCloseTo(250);
    expect(take("a", startMs + waitMs / 2)).toBeGreaterThan(0);
    expect(take("a", startMs + waitMs)).toBe(0);
  });

  test("is nobody else's", () => {
    const { take } = rateBuckets({ perSecond: 1, burst: 3 });
    expect(admitted(take, "a", startMs, 10)).toBe(3);
    expect(admitted(take, "b", startMs, 10)).toBe(3);
  });

  test("that nobody asks of while others do is still remembered until it would be full", () => {
    const { take } = rateBuckets({ perSecond: 1, burst: 10 });
    admitted(take, "a", startMs, 10);
    for (let ms = 0; ms < 9000; ms += 500) take("b", startMs + ms);
    expect(admitted(take, "a", startMs + 9000, 100)).toBe(9);
  });

  test("does not stay shut when the clock goes back", () => {
    const { take } = rateBuckets({ perSecond: 1, burst: 10 });
    admitted(take, "a", startMs, 10);
    expect(admitted(take, "a", startMs - 3_600_000, 100)).toBe(10);
  });

  test("forgets no more than it must when identities are many", () => {
    const { take } = rateBuckets({ perSecond: 1, burst: 2, maxIdentities: 10 });
    for (let identity = 0; identity < 1000; identity++) take(String(identity), startMs);
    expect(admitted(take, "999", startMs, 5)).toBe(1);
    expect(admitted(take, "0", startMs, 5)).toBe(2);
  });

  test("never gives more than burst and flow, whatever comes when", () => {
    fc.assert(fc.property(
      fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 1, max: 50 }), fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 300 }),
      (perSecond, burst, gapsMs) => {
        const { take } = rateBuckets({ perSecond, burst });
        let nowMs = startMs;
        let given = 0;
        for (const gapMs of gapsMs) {
          nowMs += gapMs;
          if (take("a", nowMs) === 0) given += 1;
        }
        expect(given).toBeLessThanOrEqual(burst + ((nowMs - startMs) / 1000) * perSecond + 0.1);
      },
    ), { numRuns: 200 });
  });
});
