import { afterAll, beforeAll, expect, test } from "vitest";
import type { IssuedIssuer, IssuerPage } from "../../../ca/contract/issuers.ts";
import { newCsr } from "../../support/running-ca.ts";
import { startTestApp, type TestApp } from "../../support/running-app.ts";

let host: TestApp;
beforeAll(async () => {
  host = await startTestApp();
});
afterAll(() => host.close());

const sign = (change: object = {}, headers: Readonly<Record<string, string>> = {}) =>
  host.call("POST", "/v1/issuers", { as: "admin", json: { csr: newCsr().csr, profile: "linkerd", trustDomain: "cluster.local", ...change }, headers });

test("an issuer is signed, listed, looked up and revoked", async () => {
  const { status, json } = await sign();
  const issued = json as unknown as IssuedIssuer;
  expect(status).toBe(201);
  expect(issued.anchors).toBe(host.ca.bundle().pem);

  await host.call("POST", "/v1/certificates", { as: "admin", json: { csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/a" } } });
  const { issuers } = (await host.call("GET", "/v1/issuers", { as: "auditor" })).json as unknown as IssuerPage;
  expect(issuers).toHaveLength(1);
  expect(issuers[0]).toMatchObject({ serialNumber: issued.serialNumber, trustDomain: "cluster.local", status: "valid", keyAlgorithm: "ec-p256" });
  expect(issuers[0]?.subject).toContain("CN=identity.linkerd.cluster.local");

  const path = `/v1/certificates/${issued.serialNumber}`;
  expect((await host.call("GET", path, { as: "admin" })).json).toMatchObject({ attestation: "issuer", spiffeId: "spiffe://cluster.local" });
  expect((await host.call("POST", `${path}/revoke`, { as: "operator", json: { reason: "superseded" } })).status).toBe(403);
  expect((await host.call("POST", `${path}/revoke`, { as: "admin", json: { reason: "superseded" } })).status).toBe(200);
  const after = (await host.call("GET", "/v1/issuers", { as: "auditor" })).json as unknown as IssuerPage;
  expect(after.issuers[0]).toMatchObject({ status: "revoked", revocationReason: "superseded" });
  const feed = (await host.call("GET", "/v1/revocations")).json as { revocations: { serialNumber: string }[] };
  expect(feed.revocations.map(({ serialNumber }) => serialNumber)).toContain(issued.serialNumber);
});

test("the list has pages", async () => {
  await sign();
  await sign();
  const first = (await host.call("GET", "/v1/issuers?limit=1", { as: "admin" })).json as unknown as IssuerPage;
  const next = (await host.call("GET", `/v1/issuers?limit=1&cursor=${first.nextCursor}`, { as: "admin" })).json as unknown as IssuerPage;
  expect(next.issuers[0]?.logIndex).toBeLessThan(first.issuers[0]?.logIndex ?? 0);
});

test("a retry with the same Idempotency-Key gets the same issuer", async () => {
  const { csr } = newCsr();
  const [one, other] = [await sign({ csr }, { "idempotency-key": "k" }), await sign({ csr }, { "idempotency-key": "k" })];
  expect(other.json).toEqual(one.json);
});

test.each([
  ["an operator without the scope", "operator", {}, 403],
  ["an auditor", "auditor", {}, 403],
  ["an admin for software nobody knows", "admin", { profile: "vault" }, 400],
] as const)("%s is refused", async (_claim, as, change, status) => {
  expect((await host.call("POST", "/v1/issuers", { as, json: { csr: newCsr().csr, profile: "istio", trustDomain: "west", ...change } })).status).toBe(status);
});

test("an API token with the scope issuer:west has issuers signed for west and nothing else", async () => {
  const made = await host.call("POST", "/v1/tokens", { as: "admin", json: { type: "api", name: "west", role: "operator", scope: ["issuer:west"] } });
  const authorization = `Bearer ${String(made.json["token"])}`;
  const ask = (trustDomain: string) => host.call("POST", "/v1/issuers", { json: { csr: newCsr().csr, profile: "countersign", trustDomain }, headers: { authorization } });
  expect((await ask("west")).status).toBe(201);
  expect((await ask("mesh")).status).toBe(403);
  expect((await host.call("POST", "/v1/certificates", {
    json: { csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/a" } }, headers: { authorization },
  })).status).toBe(403);
  for (const scope of ["issuer:", "issuer:East", "issuer:east"]) {
    expect((await host.call("POST", "/v1/tokens", { as: "admin", json: { type: "api", name: "x", role: "operator", scope: [scope] } })).status).toBe(400);
  }
});
