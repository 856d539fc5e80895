import { expect, test } from "vitest";
import { beginning, encodeEventId, isUpToDate, resumeFrom } from "../../../ca/feed/cursor.ts";

const newest = { bundle: 3, revocation: 1200, renew: 40, policy: 50, tap: 0, federation: 0 };

test("whoever comes with an ID of the feed goes on behind it", () => {
  const cursor = { bundle: 2, revocation: 1199, renew: 0, policy: 49, tap: 0, federation: 0 };
  expect(resumeFrom(encodeEventId("e", cursor), "e", newest)).toEqual(cursor);
  expect(isUpToDate(cursor, newest)).toBe(false);
  expect(isUpToDate(newest, newest)).toBe(true);
});

test("what it holds more of than there is, it reads anew: the CA was restored", () => {
  expect(resumeFrom("e.2.1201.40.50", "e", newest)).toEqual({ bundle: 2, revocation: 0, renew: 40, policy: 50, tap: 0, federation: 0 });
});

test("an ID from before a source was added begins that source anew", () => {
  expect(resumeFrom("e.2.7", "e", newest)).toEqual({ bundle: 2, revocation: 7, renew: 0, policy: 0, tap: 0, federation: 0 });
});

test.each([
  ["no ID", undefined], ["an empty one", ""], ["another epoch", "f.3.1200.40"], ["no epoch", ".3.1200.40"], ["another form", "1200"],
  ["an endless one", `e.${"1".repeat(300)}`],
])("with %s everything is told", (_what, id) => {
  expect(resumeFrom(id, "e", newest)).toEqual(beginning);
});

test.each(["e.-1.0x1.1e3", "e. 1.1 .+1", "e.1.5.99999999999999999", "e.NaN.Infinity."])("of %s only what is a number counts", (id) => {
  const cursor = resumeFrom(id, "e", newest);
  for (const value of Object.values(cursor)) expect(Number.isSafeInteger(value) && value >= 0 && value <= 1200).toBe(true);
});
