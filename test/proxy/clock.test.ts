import { expect, test } from "vitest";
import { atTime, systemClock } from "../../proxy/clock.ts";
import { manualClock } from "../support/manual-clock.ts";

const dayMs = 86_400_000;

test("a time further away than a Node timer reaches is met, not run at once", async () => {
  const clock = manualClock(0);
  let ranMs: number | undefined;
  atTime(clock, 40 * dayMs + 7, () => (ranMs = clock.now()));
  await clock.advance(40 * dayMs + 6, async () => undefined);
  expect(ranMs).toBeUndefined();
  await clock.advance(1);
  expect(ranMs).toBe(40 * dayMs + 7);
});

test("a clock that jumped is noticed within a minute, and one that was set back waited for", async () => {
  const clock = manualClock(0);
  const ran: number[] = [];
  atTime(clock, dayMs, () => ran.push(clock.now()));
  clock.jump(2 * dayMs);
  await clock.advance(60_000);
  expect(ran).toHaveLength(1);
  atTime(clock, clock.now() + 1000, () => ran.push(clock.now()));
  clock.jump(-3_600_000);
  await clock.advance(3_590_000, async () => undefined);
  expect(ran).toHaveLength(1);
  await clock.advance(11_000);
  expect(ran).toHaveLength(2);
});

test("a cancelled wait never runs, also after some looks at the clock", async () => {
  const clock = manualClock(0);
  const cancel = atTime(clock, dayMs, () => expect.unreachable());
  await clock.advance(dayMs / 2, async () => undefined);
  cancel();
  await clock.advance(dayMs);
  expect(clock.waiting()).toEqual([]);
});

test("the machine's timers take any delay", async () => {
  const cancel = systemClock.after(2 ** 40, () => expect.unreachable());
  await new Promise<void>((resolve) => systemClock.after(-5, resolve));
  cancel();
});
