import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { problemStatus } from "../../ca/contract/problem.ts";
import { problem } from "../../ca/http/schemas/problem.ts";
import { newCsr } from "../support/running-ca.ts";
import { startTestApp, type TestApp } from "../support/running-app.ts";

let app: TestApp;
let joinToken: string;
const { csr } = newCsr();

beforeAll(async () => {
  app = await startTestApp();
  const created = await app.call("POST", "/v1/tokens", { as: "admin", json: { type: "join", spiffeId: "spiffe://east/ns/shop/sa/cart" } });
  joinToken = String(created.json["token"]);
});
afterAll(() => app.close());

/** What a header may carry at all: the listener's parser refuses other bytes before they come here. */
const headerText = fc.string({ unit: fc.integer({ min: 0x20, max: 0xff }).filter((code) => code !== 0x7f).map((code) => String.fromCharCode(code)), maxLength: 80 });
const damagedToken = fc.tuple(fc.nat(80), fc.nat(3), fc.string({ unit: "binary", maxLength: 3 }))
  .map(([at, drop, put]) => joinToken.slice(0, at) + put + joinToken.slice(at + drop))
  .filter((token) => token !== joinToken);

describe("what a stranger sends to the API is refused by a code, and nothing else happens", () => {
  test("5000 Authorization headers", { timeout: 120_000 }, async () => {
    await fc.assert(fc.asyncProperty(fc.oneof(headerText, headerText.map((text) => `Bearer ${text}`)), async (authorization) => {
      const answer = await app.call("GET", "/v1/certificates", { headers: { authorization } });
      expect(answer.status).toBe(401);
      expectProblem(answer);
    }), { numRuns: 5000 });
  });

  test("5000 damaged join tokens", { timeout: 120_000 }, async () => {
    await fc.assert(fc.asyncProperty(damagedToken, fc.option(headerText), async (token, key) => {
      const headers: Record<string, string> = key === null ? {} : { "idempotency-key": key };
      const answer = await app.call("POST", "/v1/certificates", { json: { csr, attestation: { type: "join-token", token } }, headers });
      expectProblem(answer);
    }), { numRuns: 5000 });
  });

  test("5000 queries", { timeout: 120_000 }, async () => {
    const name = fc.constantFrom("limit", "cursor", "spiffeId", "status", "expiresBefore", "after", "start", "index", "size", "oldSize", "x");
    const query = fc.array(fc.tuple(name, fc.oneof(fc.string({ unit: "binary", maxLength: 24 }), fc.integer().map(String))), { maxLength: 4 });
    const route = fc.constantFrom("/v1/certificates", "/v1/revocations", "/v1/tokens", "/v1/audit/entries", "/v1/audit/proof");
    await fc.assert(fc.asyncProperty(route, query, async (path, pairs) => {
      const answer = await app.call("GET", `${path}?${new URLSearchParams(pairs)}`, { as: "admin" });
      if (answer.status !== 200) expectProblem(answer);
    }), { numRuns: 5000 });
  });

  test("and the token that was never sent whole is still good, for one certificate", async () => {
    const answer = await app.call("POST", "/v1/certificates", { json: { csr, attestation: { type: "join-token", token: joinToken } } });
    expect(answer.status).toBe(201);
  });
});

function expectProblem(answer: Awaited<ReturnType<TestApp["call"]>>): void {
  const { code, status } = problem.strict().parse(answer.json);
  expect(status).toBe(answer.status);
  expect(status).toBeGreaterThanOrEqual(400);
  expect(status).toBeLessThan(500);
  expect(problemStatus[code]).toBe(status);
}
