import { describe, expect, test } from "vitest";
import { validityFor, workloadProfile } from "../../../ca/issuance/profile.ts";

const profile = workloadProfile({ certificateLifetimeMs: 3_600_000, certificateLifetimeMaxMs: 7_200_000, clockSkewMs: 20_000 });

describe("validity", () => {
  test("of a 1 h certificate ends at +59:59, since notAfter is inclusive", () => {
    expect(validityFor(profile, 1_000_000_999, undefined)).toEqual({ notBeforeMs: 1_000_000_000 - 20_000, notAfterMs: 1_000_000_000 + 3_599_000 });
  });

  test("is as long as asked for, up to the maximum", () => {
    expect(validityFor(profile, 0, 7200).notAfterMs).toBe(7_199_000);
    expect(() => validityFor(profile, 0, 7201)).toThrow(expect.objectContaining({ code: "lifetime_refused" }));
  });

  test.each([0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])("of %d seconds is refused", (seconds) => {
    expect(() => validityFor(profile, 0, seconds)).toThrow(expect.objectContaining({ code: "lifetime_refused" }));
  });
});
