import { expect, test } from "vitest";
import { settlingStore } from "../../../ca/store/settling.ts";
import type { Store } from "../../../ca/store/store.ts";

test("a store is settled when nothing is under way, what follows from its answers included", async () => {
  const answers: (() => void)[] = [];
  const answer = (): Promise<void> => new Promise((resolve) => answers.push(resolve));
  const store = settlingStore({ kind: "postgres", databaseTimeMs: () => 7, ping: answer, report: answer } as unknown as Store);
  expect([store.kind, store.databaseTimeMs()]).toEqual(["postgres", 7]);
  // Nobody waits for either of them.
  void store.ping().then(() => store.ping());
  const order: string[] = [];
  const settled = store.settled().then(() => order.push("settled"));
  for (const nth of ["first", "second"]) {
    await new Promise((resolve) => setImmediate(resolve));
    order.push(nth);
    answers.shift()!();
  }
  await settled;
  expect(order).toEqual(["first", "second", "settled"]);
});

test("a call that fails is over, too", async () => {
  const store = settlingStore({ ping: () => Promise.reject(new Error("away")) } as unknown as Store);
  const failed = expect(store.ping()).rejects.toThrow("away");
  await store.settled();
  await failed;
});
