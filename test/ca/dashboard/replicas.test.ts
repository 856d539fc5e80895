import { expect, test } from "vitest";
import type { ReplicaVitals } from "../../../ca/contract/vitals.ts";
import { replicasCard } from "../../../ca/dashboard/replicas.ts";

const nowMs = Date.UTC(2026, 0, 2);
const at = (offsetMs: number): string => new Date(nowMs + offsetMs).toISOString();
const shown = async (more: Partial<ReplicaVitals>): Promise<string> => {
  const one: ReplicaVitals = { address: "ca-0:8443", version: "1.0.0", startedAt: at(-7_200_000), heardAt: at(-5000), answers: false, silent: false, leases: [], ...more };
  return String(await replicasCard({ version: "1.0.0", replicas: [one] }, nowMs)).replaceAll(/<[^>]*>/g, " ").replaceAll(/\s+/g, " ");
};

test.each<[string, Partial<ReplicaVitals>, string]>([
  ["is there", {}, "ca-0:8443 1.0.0 √ there heard of 5 s ago - 2 h ago"],
  ["made the page", { answers: true }, "ca-0:8443 answered 1.0.0"],
  ["is of another version", { version: "0.9.0" }, "‼ 0.9.0, another version"],
  ["fell silent", { silent: true, heardAt: at(-240_000) }, "‼ silent heard of 4 min ago"],
  ["rotates", { leases: ["authority", "federation"] }, "rotation, federation"],
])("a replica that %s is shown so", async (_, more, expected) => {
  expect(await shown(more)).toContain(expected);
});

test("a CA that has its database for itself has no such list", () => {
  expect(replicasCard({ version: "1.0.0" }, nowMs)).toBe("");
});
