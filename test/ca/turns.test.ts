import { expect, test } from "vitest";
import { turns } from "../../ca/turns.ts";

const full = (): Error => new Error("full");

test("few act at once, some wait in their order, and the others are turned away", async () => {
  const { run } = turns({ atOnce: 2, waiting: 2 });
  const ends: (() => void)[] = [];
  const began: number[] = [];
  const act = (name: number) => run(() => {
    began.push(name);
    return new Promise<number>((resolve) => void ends.push(() => resolve(name)));
  }, full);
  const all = [1, 2, 3, 4].map(act);
  await expect(act(5)).rejects.toThrow("full");
  expect(began).toEqual([1, 2]);
  for (let done = 0; done < 4; done++) {
    ends[done]!();
    await all[done];
  }
  expect([began, await Promise.all(all)]).toEqual([[1, 2, 3, 4], [1, 2, 3, 4]]);
  const again = act(6);
  ends[4]!();
  expect(await again).toBe(6);
});

test("one that fails gives its place back", async () => {
  const { run } = turns({ atOnce: 1, waiting: 1 });
  const failing = run(() => Promise.reject(new Error("broken")), full);
  const next = run(async () => "done", full);
  await expect(failing).rejects.toThrow("broken");
  expect(await next).toBe("done");
  expect(await run(async () => "again", full)).toBe("again");
});
