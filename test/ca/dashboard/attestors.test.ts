import { expect, test } from "vitest";
import type { AttestorVitals, Vitals } from "../../../ca/contract/vitals.ts";
import { attestorsCard } from "../../../ca/dashboard/attestors.ts";

const nowMs = Date.UTC(2026, 0, 2);
const shown = async (...attestors: readonly AttestorVitals[]): Promise<string> => (
  String(await attestorsCard({ attestors } as unknown as Vitals, nowMs)).replaceAll(/<[^>]*>/g, " ").replaceAll(/\s+/g, " ")
);

test.each<[string, Partial<AttestorVitals>, string]>([
  ["can be asked", { vouches: true }, "cluster kubernetes √ vouches"],
  ["cannot be asked", { vouches: false, trouble: "its API answered 500" }, "× vouches for nobody its API answered 500"],
  ["has keys of before", { vouches: true, trouble: "no answer" }, "‼ by keys of before no answer"],
  ["has anchors", { type: "x509", vouches: true, notAfter: "2026-02-01T00:00:00.000Z" }, "√ vouches the last of its anchors ends in 30 d"],
  ["had anchors", { type: "x509", vouches: true, notAfter: "2026-01-01T00:00:00.000Z" }, "× vouches for nobody the last of its anchors ended 24 h ago"],
])("an attestor that %s is shown so", async (_, one, expected) => {
  expect(await shown({ name: "cluster", type: "kubernetes", vouches: true, ...one })).toContain(expected);
});

test("without attestors, and for whom may not read of them, there is nothing", async () => {
  expect([await shown(), attestorsCard(undefined, nowMs)]).toEqual(["", ""]);
});
