import { expect, test } from "vitest";
import { endure } from "../soak/endurance.ts";
import { judge } from "../soak/judge.ts";

// `npm run soak` is the long version, where leaks would show that are lost in noise here.
test("a CA that is gone, slow or talks nonsense, a read-only disk, clocks and rotations are noticed by no request", { timeout: 400_000 }, async () => {
  const told: string[] = [];
  const result = await endure({ idleConnections: 200, rotations: 30, troubleMs: 200, scale: 5, report: (line) => told.push(line) });
  expect(judge(result), told.join("\n")).toEqual([]);
  expect(result.rotations).toBeGreaterThanOrEqual(30);
  expect(result.done).toBeGreaterThan(100);
});
