import { describe, expect, test } from "vitest";
import { jittered, renewalTime, retryDelay } from "../../../proxy/identity/backoff.ts";

const almostOne = 1 - 2 ** -53;

test("a renewal is due between half and seven tenths of life", () => {
  const life = { notBeforeMs: 1000, notAfterMs: 11_000 };
  expect(renewalTime(life, () => 0)).toBe(6000);
  expect(renewalTime(life, () => 0.5)).toBe(7000);
  expect(renewalTime(life, () => almostOne)).toBe(8000);
});

describe("the wait after a failure", () => {
  test("doubles from a second to the bound of its kind, and no further however many there were", () => {
    const waits = (kind: "first" | "renewal" | "refusal") => [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1000, 1e9].map((failures) => retryDelay(failures, kind, () => almostOne) / 1000);
    expect(waits("first")).toEqual([1, 2, 4, 8, 10, 10, 10, 10, 10, 10, 10, 10]);
    expect(waits("renewal")).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]);
    expect(waits("refusal")).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
  });

  test("is a random half to whole of that, on top of what the CA asked for", () => {
    expect(retryDelay(1, "renewal", () => 0)).toBe(500);
    expect(retryDelay(1, "renewal", () => 0, 30_000)).toBe(30_500);
  });
});

test("jitter is a tenth to both sides", () => {
  expect([jittered(2000, () => 0), jittered(2000, () => 0.5), jittered(2000, () => almostOne)]).toEqual([1800, 2000, 2200]);
});
