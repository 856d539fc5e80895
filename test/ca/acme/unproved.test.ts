import { expect, test } from "vitest";
import { unprovedNames } from "../../../ca/acme/unproved.ts";

test("names that were not proved are told for an hour, unless they are proved since; a hundred of them", () => {
  let nowMs = Date.UTC(2026, 0, 1);
  const names = unprovedNames(() => new Date(nowMs));
  names.add({ name: "web.internal", challenge: "http-01", why: "no answer" });
  names.add({ name: "api.internal", challenge: "dns-01", why: "no record" });
  names.add({ name: "web.internal", challenge: "http-01", why: undefined });
  expect(names.list()).toEqual([{ name: "api.internal", challenge: "dns-01", why: "no record", at: "2026-01-01T00:00:00.000Z" }]);
  nowMs += 3_600_000;
  expect(names.list()).toEqual([]);
  for (let index = 0; index < 150; index++) names.add({ name: `${index}.internal`, challenge: "http-01", why: "no answer" });
  expect(names.list()).toHaveLength(100);
});
