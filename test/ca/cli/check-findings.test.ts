import { expect, test } from "vitest";
import { judge, type CheckFacts } from "../../../ca/cli/check-findings.ts";
import type { AuthoritySummary } from "../../../ca/contract.ts";

const dayMs = 86_400_000;
const nowMs = Date.parse("2026-11-21T00:00:00Z");
const authority = (type: AuthoritySummary["type"], more: Partial<AuthoritySummary> = {}, [fromDays, toDays] = [-10, 90]): AuthoritySummary => ({
  id: `${type}0123456789abcdef`, type, state: "active", subject: "", keyAlgorithm: "ec-p256", fingerprint: "", certificate: "", key: "sealed",
  notBefore: new Date(nowMs + fromDays * dayMs).toISOString(), notAfter: new Date(nowMs + toDays * dayMs).toISOString(), ...more,
});
const well: CheckFacts = { nowMs, readiness: { ready: true, reasons: [] }, authorities: [authority("root"), authority("issuer")] };
const wrong = (facts: Partial<CheckFacts>): string[] =>
  judge({ ...well, ...facts }).filter(({ status }) => status !== "ok").map(({ category, status, hint }) => `${category} ${status}: ${hint}`);

test("a CA that is well has nothing but √", () => {
  expect(wrong({})).toEqual([]);
  expect(judge(well).length).toBeGreaterThan(3);
});

test.each<[string, Partial<CheckFacts>, RegExp]>([
  ["is not ready", { readiness: { ready: false, reasons: ["the database cannot be reached"] } }, /^api failed: the database cannot/],
  ["announces trouble", { readiness: { ready: true, reasons: [], warnings: ["KMS does not answer"] } }, /^api warning: KMS/],
  ["has no active issuer", { authorities: [authority("root")] }, /^authorities failed: none is/],
  ["has a root near its end without a successor", { authorities: [authority("root", {}, [-90, 10]), authority("issuer")] }, /^authorities warning: 10 %.*authority prepare/],
  ["has a root in KMS near its end", { authorities: [authority("root", { key: "kms" }, [-90, 10]), authority("issuer")] }, /^authorities warning: 10 %.*ceremony request root/],
  ["has a root at its very end", { authorities: [authority("root", {}, [-99, 1]), authority("root", { state: "prepared" }), authority("issuer")] }, /^authorities failed: 1 %/],
  ["has an issuer that was not replaced in time", { authorities: [authority("root"), authority("issuer", {}, [-70, 30])] }, /^authorities warning: 30 %/],
  ["has an issuer that has ended", { authorities: [authority("root"), authority("issuer", {}, [-70, -1])] }, /^authorities failed: 0 %/],
  ["trusts a tainted authority", { authorities: [...well.authorities, authority("issuer", { state: "tainted" })] }, /^authorities warning: issuer .* revoke/],
  [
    "has a holder that does not trust the next root",
    { authorities: [...well.authorities, authority("root", { state: "prepared", waitsFor: { count: 7, holders: [{ spiffeId: "spiffe://east/ns/shop/sa/cart", serialNumber: "07", acknowledgedSequence: "0", notAfter: "" }] } })] },
    /^convergence warning: it waits for \/ns\/shop\/sa\/cart \(07\) and 6 more/,
  ],
])("one that %s is told so, and nothing else", (_, facts, expected) => {
  const found = wrong(facts);
  expect(found).toHaveLength(1);
  expect(found[0]).toMatch(expected);
});

test("a root near its end with a successor prepared is well", () => {
  expect(wrong({ authorities: [authority("root", {}, [-90, 10]), authority("root", { state: "prepared" }), authority("issuer")] })).toEqual([]);
});
