import { afterAll, beforeAll, expect, test } from "vitest";
import type { AuthorityList } from "../../../ca/contract/authorities.ts";
import { newCsr } from "../../support/running-ca.ts";
import { startTestApp, type TestApp } from "../../support/running-app.ts";

let app: TestApp;
beforeAll(async () => void (app = await startTestApp()));
afterAll(() => app.close());

test("an operator sees whom a prepared root waits for within its scope, and how many there are", async () => {
  const [mine, other] = ["spiffe://east/ns/shop/sa/cart", "spiffe://east/ns/bank/sa/vault"];
  for (const spiffeId of [mine, other]) await app.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId } }, { caller: app.admin });
  expect((await app.call("POST", "/v1/authorities", { as: "admin", json: { type: "root" } })).status).toBe(201);
  const seenBy = async (as: "admin" | "operator" | "auditor") => {
    const { authorities } = (await app.call("GET", "/v1/authorities", { as })).json as unknown as AuthorityList;
    const { waitsFor } = authorities.find(({ state }) => state === "prepared")!;
    return { count: waitsFor?.count, ids: waitsFor?.holders.map(({ spiffeId }) => spiffeId).sort() };
  };
  expect(await seenBy("operator")).toEqual({ count: 2, ids: [mine] });
  for (const as of ["admin", "auditor"] as const) expect(await seenBy(as)).toEqual({ count: 2, ids: [other, mine] });
});
