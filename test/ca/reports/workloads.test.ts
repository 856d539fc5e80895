import { afterAll, beforeAll, expect, test } from "vitest";
import type { WorkloadList } from "../../../ca/contract/workloads.ts";
import { startTestApp, type TestApp } from "../../support/running-app.ts";
import { newCsr, proofFor } from "../../support/running-ca.ts";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const vouched = (name: string) => ({ type: "operator", spiffeId: `spiffe://east/ns/${name}` }) as const;

async function list(query = "", as: "admin" | "operator" = "admin"): Promise<WorkloadList> {
  app.clock.nowMs += 4000;
  return (await app.call("GET", `/v1/workloads${query}`, { as })).json as unknown as WorkloadList;
}

test("each holder is there once, by its newest certificate; who was revoked or has ended is not", async () => {
  const first = newCsr();
  const web = await app.ca.issue({ csr: first.csr, attestation: vouched("shop/sa/web") }, { caller: app.admin });
  const next = newCsr();
  const renewed = await app.ca.issue({ csr: next.csr, attestation: { type: "svid", proof: proofFor(web, first.privateKey, next.der, app.clock.nowMs) } }, {});
  const revoked = await app.ca.issue({ csr: newCsr().csr, attestation: vouched("shop/sa/gone") }, { caller: app.admin });
  await app.ca.revoke(revoked.serialNumber, "superseded", app.admin);
  await app.ca.issue({ csr: newCsr().csr, attestation: vouched("bank/sa/vault"), lifetimeSeconds: 3600 }, { caller: app.admin });
  expect((await list()).workloads.map(({ spiffeId, serialNumber }) => [spiffeId.slice(17), serialNumber === renewed.serialNumber])).toEqual([["bank/sa/vault", false], ["shop/sa/web", true]]);
  app.clock.nowMs += 2 * 3_600_000;
  expect((await list()).workloads.map(({ spiffeId }) => spiffeId)).toEqual(["spiffe://east/ns/shop/sa/web"]);
});

test("it is searched by a part of the ID and comes in pages; an operator sees its scope", async () => {
  for (const name of ["bank/sa/a", "shop/sa/b", "shop/sa/c"]) await app.ca.issue({ csr: newCsr().csr, attestation: vouched(name) }, { caller: app.admin });
  const names = ({ workloads }: WorkloadList): string[] => workloads.map(({ spiffeId }) => spiffeId.slice(17));
  expect(names(await list("?search=bank"))).toEqual(["bank/sa/a"]);
  expect(names(await list("", "operator"))).toEqual(["shop/sa/b", "shop/sa/c", "shop/sa/web"]);
  const page = await list("?limit=3");
  expect([page.total, names(page), names(await list(`?limit=3&cursor=${page.nextCursor}`))]).toEqual([4, ["bank/sa/a", "shop/sa/b", "shop/sa/c"], ["shop/sa/web"]]);
});
