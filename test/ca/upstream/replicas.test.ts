import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase } from "../../support/postgres.ts";
import { issue, rowsOf, startParent, type ParentCa } from "../../support/clusters.ts";
import type { TestCa } from "../../support/running-ca.ts";

let parent: ParentCa;
let replicas: readonly TestCa[];

beforeAll(async () => {
  parent = await startParent();
  const [store, invitation] = [await createDatabase(), await parent.invite("west.example")];
  const env = { COUNTERSIGN_SEALING_KEY: randomBytes(32).toString("base64") };
  // All at once, on an empty database, with one string.
  replicas = await Promise.all(Array.from({ length: 3 }, () => parent.below("west.example", { invitation, settings: { store }, env })));
}, 60_000);
afterAll(() => parent.close());

const ofWest = (issuersOnly: boolean) => parent.served.ca.store.certificates({ limit: 100, nowMs: parent.clock.nowMs, ...(issuersOnly ? { issuersOnly } : { spiffeId: "spiffe://root.example/cluster/west.example" }) });

test("replicas that start at once are one CA: one identity at the one above, and one issuer that signs", async () => {
  expect(await ofWest(false)).toHaveLength(1);
  for (const replica of replicas) {
    expect(await rowsOf(replica, "issuer")).toHaveLength(1);
    expect((await issue(replica)).spiffeId).toBe("spiffe://west.example/web");
  }
  expect(new Set(replicas.map(({ ca }) => ca.bundle().jwks)).size).toBe(1);
});

test("one of them follows the CA above and replaces the issuer, and all sign with the new one", async () => {
  const asked = (await ofWest(true)).length;
  await parent.pass(85 * 3_600_000, ...replicas);
  for (const { ca } of replicas) await ca.tick();
  expect((await ofWest(true)).length - asked).toBe(1);
  const [active] = await rowsOf(replicas[0]!, "issuer", "active");
  for (const { ca } of replicas) expect(ca.chainBehind(active!.id)).not.toBe("");
  expect(await Promise.all(replicas.map(async ({ ca }) => (await ca.vitals()).upstream?.failures))).toEqual([0, 0, 0]);
});
