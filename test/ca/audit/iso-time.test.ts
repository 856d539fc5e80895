import fc from "fast-check";
import { expect, test } from "vitest";
import { isoTimes } from "../../../ca/audit/iso-time.ts";

test("times read as Date.toISOString writes them, also those of one second after another", () => {
  const starts = fc.array(fc.integer({ min: Date.UTC(-1000, 0, 1), max: Date.UTC(12_000, 0, 1) }), { minLength: 1, maxLength: 5 });
  const steps = fc.array(fc.nat(2000), { minLength: 1, maxLength: 10 });
  fc.assert(fc.property(starts, steps, (startsMs, stepsMs) => {
    const isoTime = isoTimes();
    for (const startMs of startsMs) for (const stepMs of stepsMs) expect(isoTime(startMs + stepMs)).toBe(new Date(startMs + stepMs).toISOString());
  }));
});
