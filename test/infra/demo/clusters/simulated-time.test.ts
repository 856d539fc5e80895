import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { simulatedClock, simulatedMs } from "../../../../infra/demo/clusters/simulated-time.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"], now: 0 }));
afterEach(() => void vi.useRealTimers());

test("passes as its paces say, whoever asks and whenever they were told", () => {
  const paces = [{ fromMs: 1000, factor: 120 }, { fromMs: 2000, factor: 1 }];
  expect([0, 1000, 1500, 2000, 3000].map((realMs) => simulatedMs(paces, realMs))).toEqual([0, 1000, 61_000, 121_000, 122_000]);
});

test("a timer that waits follows a change of pace", async () => {
  const clock = simulatedClock([], Date.now);
  const firedAtMs: number[] = [];
  clock.after(60_000, () => void firedAtMs.push(clock.now()));
  await vi.advanceTimersByTimeAsync(500);
  clock.setPaces([{ fromMs: 1000, factor: 120 }, { fromMs: 2000, factor: 1 }]);
  await vi.advanceTimersByTimeAsync(499);
  expect(firedAtMs).toEqual([]);
  await vi.advanceTimersByTimeAsync(1001);
  expect(firedAtMs).toHaveLength(1);
  expect(firedAtMs[0]).toBeGreaterThanOrEqual(60_000);
});

test("a timer that is cancelled does not fire, and none fires before it was given back", async () => {
  const clock = simulatedClock([{ fromMs: 0, factor: 120 }], Date.now);
  const run = vi.fn();
  const cancel = clock.after(0, run);
  expect(run).not.toHaveBeenCalled();
  cancel();
  await vi.advanceTimersByTimeAsync(1000);
  expect(run).not.toHaveBeenCalled();
});
