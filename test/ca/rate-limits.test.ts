import { expect, test } from "vitest";
import { rateLimits } from "../../ca/rate-limits.ts";

test("one address takes a quarter of what strangers may ask of the feed, and what it is refused takes nothing from the others", () => {
  const limits = rateLimits({ callerRate: 1, workloadRate: 1, anonymousRate: 8 }, () => new Date(0));
  const taken = (address: string, count: number) => Array.from({ length: count }, () => limits.stranger(address)).filter((refusal) => refusal === undefined).length;
  expect(taken("10.0.0.1", 1000)).toBe(20);
  expect(limits.stranger("10.0.0.1")).toMatchObject({ code: "rate_limited", retryAfterSeconds: 1, message: expect.stringMatching(/One address.*random part/) });
  expect(["10.0.0.2", "10.0.0.3", "10.0.0.4"].map((address) => taken(address, 1000))).toEqual([20, 20, 20]);
  expect(taken("10.0.0.5", 1)).toBe(0);
});

test("one address takes a quarter of what strangers may ask of ACME, and nothing of what they may ask of the feed", () => {
  const limits = rateLimits({ callerRate: 1, workloadRate: 1, anonymousRate: 8 }, () => new Date(0));
  const taken = (address: string) => Array.from({ length: 1000 }, () => limits.applicant(address)).filter((refusal) => refusal === undefined).length;
  expect(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"].map(taken)).toEqual([20, 20, 20, 20, 0]);
  expect([limits.stranger("10.0.0.1"), limits.anonymous()]).toEqual([undefined, undefined]);
});

test("one address opens a quarter of the accounts that anybody may open, of which there are few", () => {
  let nowMs = 0;
  const limits = rateLimits({ callerRate: 1, workloadRate: 1, anonymousRate: 100_000 }, () => new Date(nowMs));
  const opened = (address: string) => Array.from({ length: 1000 }, () => limits.opening(address)).filter((refusal) => refusal === undefined).length;
  expect([opened("10.0.0.1"), opened("10.0.0.2")]).toEqual([500, 500]);
  nowMs += 10_000;
  expect(opened("10.0.0.1")).toBe(5);
});

test("an identity that follows the feed too often waits for itself alone, and an admin never", () => {
  const limits = rateLimits({ callerRate: 1, workloadRate: 1, anonymousRate: 1 }, () => new Date(0));
  const taken = (actor: string, role: "workload" | "admin") => Array.from({ length: 20 }, () => limits.follower({ actor, role })).filter((refusal) => refusal === undefined).length;
  expect([taken("spiffe://east/a", "workload"), taken("spiffe://east/b", "workload"), taken("spiffe://east/admin", "admin")]).toEqual([10, 10, 20]);
});
