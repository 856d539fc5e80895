import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { problemStatus } from "../../../ca/contract/problem.ts";
import { access } from "../../../ca/http/authenticate.ts";
import { problem } from "../../../ca/http/schemas/problem.ts";
import { Refusal } from "../../../ca/refusal.ts";
import { StoreError } from "../../../ca/store/errors.ts";
import { newCsr } from "../../support/running-ca.ts";
import { startTestApp, type TestApp } from "../../support/running-app.ts";

let app: TestApp;
beforeAll(async () => void (app = await startTestApp()));
afterEach(() => expect(app.errors).toEqual([]));
afterAll(() => app.close());

describe("what is not there", () => {
  test.for([
    "/v1",
    "/v1/",
    "/v1/certificates/",
    "/v2/certificates",
    "/v1/certificates/00/revoke/more",
    "/V1/certificates",
    "//v1/certificates",
    "/healthz/",
  ])("%s is not found", async (path) => {
    const answer = await app.call("GET", path, { as: "admin" });
    expect([answer.status, answer.problem.code]).toEqual([404, "not_found"]);
  });

  test.for([
    ["PUT", "/v1/certificates", "GET, POST, HEAD, OPTIONS"],
    ["DELETE", "/v1/certificates/00", "GET, HEAD, OPTIONS"],
    ["GET", "/v1/certificates/00/revoke", "POST, OPTIONS"],
    ["HEAD", "/v1/certificates/00/revoke", "POST, OPTIONS"],
    ["POST", "/v1/tokens/00", "DELETE, OPTIONS"],
    ["PATCH", "/healthz", "GET, HEAD, OPTIONS"],
    ["PROPFIND", "/docs", "GET, HEAD, OPTIONS"],
  ] as const)("%s %s is refused with what is allowed", async ([method, path, allow]) => {
    const response = await app.app.request(path, { method });
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe(allow);
    if (method !== "HEAD") expect(problem.parse(await response.json()).code).toBe("method_not_allowed");
  });

  test("OPTIONS says what is allowed, and nothing of other origins", async () => {
    const answer = await app.call("OPTIONS", "/v1/certificates", {
      headers: { origin: "https://evil.example", "access-control-request-method": "POST" },
    });
    expect([answer.status, answer.headers.get("allow")]).toEqual([204, "GET, POST, HEAD, OPTIONS"]);
    expect(answer.headers.get("access-control-allow-origin")).toBeNull();
  });

  test("HEAD is GET without the body, and needs the same token", async () => {
    const answer = await app.call("HEAD", "/healthz");
    expect([answer.status, answer.text]).toEqual([200, ""]);
    expect((await app.call("HEAD", "/v1/tokens")).status).toBe(401);
  });
});

describe("every answer", () => {
  test.for(["/healthz", "/nowhere", "/v1/tokens", "/v1/bundle", "/docs"])(
    "of %s names its request and may not be sniffed or framed",
    async (path) => {
      const [first, second] = [await app.call("GET", path), await app.call("GET", path)];
      expect(first.headers.get("x-request-id")).toMatch(/^[0-9a-f]{12}-[0-9a-z]+$/);
      expect(second.headers.get("x-request-id")).not.toBe(first.headers.get("x-request-id"));
      expect(first.headers.get("x-content-type-options")).toBe("nosniff");
      expect(first.headers.get("content-security-policy")).toContain("default-src 'none'");
      expect(first.headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
      expect(first.headers.get("cache-control")).toMatch(/^no-(store|cache)$/);
    },
  );

  test("that holds a secret or needed one is not stored by anyone", async () => {
    const created = await app.call("POST", "/v1/tokens", {
      as: "admin",
      json: { type: "join", spiffeId: "spiffe://east/x" },
    });
    expect([created.status, created.headers.get("cache-control")]).toEqual([201, "no-store"]);
    expect((await app.call("GET", "/v1/certificates", { as: "admin" })).headers.get("cache-control")).toBe("no-store");
  });
});

describe("when something inside fails", () => {
  test.for([
    ["an unforeseen error", new Error("secret-detail"), 500, "internal"],
    ["a full queue", new StoreError("store_busy", "secret-detail"), 503, "store_busy"],
    ["a lost database", new StoreError("store_unavailable", "secret-detail"), 503, "store_unavailable"],
    [
      "no issuer",
      new Refusal("issuer_unavailable", "No issuer can sign until the clock is right.", { retryAfterSeconds: 30 }),
      503,
      "issuer_unavailable",
    ],
    ["a lint that fails", new Refusal("lint_failed", "secret-detail"), 500, "lint_failed"],
    ["something that is no error at all", "secret-detail", 500, "internal"],
  ] as const)("%s is answered with its code, and only our own faults are logged", async ([, thrown, status, code]) => {
    const broken = await startTestApp({
      wrap: (services) => ({ ...services, issue: () => Promise.reject(thrown as Error) }),
    });
    const answer = await broken.call("POST", "/v1/certificates", {
      as: "admin",
      json: { csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/a" } },
    });
    expect([answer.status, answer.problem.code]).toEqual([status, code]);
    expect(answer.text).not.toContain("secret-detail");
    expect(broken.errors).toHaveLength(status === 500 ? 1 : 0);
    if (status === 500) expect(broken.errors[0]).toContain(answer.headers.get("x-request-id"));
    if (status === 503) expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    await broken.close();
  });

  test("readiness tells why it is not ready, with 503", async () => {
    const broken = await startTestApp({
      wrap: (services) => ({
        ...services,
        readiness: () => Promise.resolve({ ready: false, reasons: ["the database does not answer"] }),
      }),
    });
    const answer = await broken.call("GET", "/readyz");
    expect([answer.status, answer.json]).toEqual([503, { ready: false, reasons: ["the database does not answer"] }]);
    await broken.close();
  });
});

test("refusals are counted by code", async () => {
  const counted = await startTestApp();
  await counted.call("GET", "/nowhere");
  await counted.call("GET", "/v1/tokens");
  await counted.call("GET", "/v1/tokens");
  const { text } = await counted.call("GET", "/metrics", { as: "auditor" });
  expect(text).toContain('countersign_requests_denied_total{code="not_found"} 1');
  expect(text).toContain('countersign_requests_denied_total{code="unauthenticated"} 2');
  await counted.close();
});

test("requests are logged at debug without their query, body or token", async () => {
  const lines: string[] = [];
  const log = {
    isLevelEnabled: () => true,
    debug: (fields: object) => void lines.push(JSON.stringify(fields)),
    error: () => undefined,
  };
  const chatty = await startTestApp({ app: { log } });
  await chatty.call("GET", "/v1/certificates?spiffeId=spiffe://east/query", { as: "admin" });
  await chatty.call("POST", "/v1/certificates", {
    json: { csr: "body", attestation: { type: "join-token", token: "body" } },
  });
  expect(lines).toHaveLength(2);
  expect(JSON.parse(lines[0]!)).toMatchObject({ method: "GET", path: "/v1/certificates", status: 200 });
  expect(lines.join()).not.toMatch(/query|body|Bearer|csapi/);
  await chatty.close();
});

test("a refusal repeats only so much of what was sent", async () => {
  const members = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`${"x".repeat(200)}${n}`, 1]));
  const { problem: refused } = await app.call("POST", "/v1/tokens", {
    as: "admin",
    json: { type: "join", spiffeId: "spiffe://east/a", ...members },
  });
  expect(refused.code).toBe("invalid_request");
  expect(refused.detail.length).toBeLessThan(500);
});

describe("bodies made of anything", () => {
  const routes = Object.keys(access)
    // A witness answers in the form of C2SP tlog-witness.
    .filter((route) => route.startsWith("POST ") && route !== "POST /v1/witness/add-checkpoint")
    .map((route) => route.split(" ")[1]!.replace("{serial}", "0".repeat(32)));
  const member = fc.oneof(
    fc.constantFrom(
      "csr",
      "attestation",
      "type",
      "token",
      "proof",
      "spiffeId",
      "dnsNames",
      "lifetimeSeconds",
      "reason",
      "name",
      "role",
      "scope",
      "expiresInSeconds",
      "__proto__",
      "constructor",
    ),
    fc.string(),
  );
  const word = fc.oneof(
    fc.constantFrom(
      "join-token",
      "svid",
      "operator",
      "join",
      "api",
      "admin",
      "keyCompromise",
      "spiffe://east/a",
      newCsr().csr,
      "csjoin_a_b",
    ),
    fc.string(),
    fc.string({ unit: "binary" }),
  );
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { depthSize: "small" },
      word,
      fc.integer(),
      fc.double(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie("any"), { maxLength: 4 }),
      fc.dictionary(member, tie("any"), { maxKeys: 6 }),
    ),
  })).any;
  const text = fc.oneof(
    { weight: 4, arbitrary: fc.dictionary(member, value, { maxKeys: 6 }).map((it) => JSON.stringify(it)) },
    { weight: 1, arbitrary: fc.string() },
    { weight: 1, arbitrary: fc.json() },
  );

  test("are answered or refused with a short problem below 500", async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...routes), text, async (path, body) => {
        const answer = await app.call("POST", path, { as: "admin", body });
        if (answer.status < 300) return;
        const { code, status } = problem.strict().parse(answer.json);
        expect(status).toBe(answer.status);
        expect(status).toBeLessThan(500);
        expect(problemStatus[code]).toBe(status);
        expect(answer.problem.detail.length).toBeLessThan(1000);
      }),
      { numRuns: 1500 },
    );
  }, 120_000);
});
