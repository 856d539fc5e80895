import { expect, test } from "vitest";
import { addressOrder } from "../../../proxy/outbound/addresses.ts";

const address = (host: string, weight = 1) => ({ host, port: 4143, weight });

test("addresses are drawn by weight", () => {
  // A generator with a period of 2^32 that is the same each run.
  let state = 1;
  const order = addressOrder(() => 0, () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32);
  let heavy = 0;
  for (let count = 0; count < 2000; count++) if (order.of([address("a", 3), address("b", 1)])[0]?.host === "a") heavy++;
  expect(heavy / 2000).toBeCloseTo(0.75, 1);
});

test("one that failed comes last for ten seconds, and is still tried where there is no other", () => {
  let nowMs = 0;
  const order = addressOrder(() => nowMs, () => 0.5);
  const all = [address("a", 9), address("b")];
  expect(order.of(all)[0]?.host).toBe("a");
  order.failed(address("a"));
  expect(order.of(all).map(({ host }) => host)).toEqual(["b", "a"]);
  expect(order.of([address("a")])).toHaveLength(1);
  nowMs = 10_000;
  expect(order.of(all)[0]?.host).toBe("a");
});

test("no more than three are tried", () => {
  expect(addressOrder(() => 0, Math.random).of(["a", "b", "c", "d", "e"].map((host) => address(host)))).toHaveLength(3);
});
