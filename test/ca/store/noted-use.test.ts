import { expect, test } from "vitest";
import { notedUse } from "../../../ca/store/noted-use.ts";

const hourMs = 3_600_000;

test("a use is written at most once an hour for each, and again where that failed", async () => {
  const written: string[] = [];
  let fails = false;
  const note = notedUse(async (name, usedAtMs) => {
    if (fails) throw new Error("the database does not answer");
    written.push(`${name} at ${usedAtMs}`);
  });
  for (const [name, usedAtMs] of [["a", 0], ["a", hourMs - 1], ["b", 5], ["a", hourMs]] as const) await note(name, usedAtMs);
  expect(written).toEqual(["a at 0", "b at 5", `a at ${hourMs}`]);
  fails = true;
  await note("c", 0);
  fails = false;
  await note("c", 1);
  expect(written.at(-1)).toBe("c at 1");
});
