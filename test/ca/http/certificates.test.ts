import { X509Certificate } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { CertificatePage, IssuedCertificate } from "../../../ca/contract/certificates.ts";
import { certificateDetail, certificatePage } from "../../../ca/http/schemas/certificates.ts";
import { issuedCertificate } from "../../../ca/http/schemas/issuing.ts";
import { revocation } from "../../../ca/http/schemas/revocations.ts";
import { dayMs, newCsr } from "../../support/running-ca.ts";
import { startTestApp, type TestApp } from "../../support/running-app.ts";

let app: TestApp;
beforeAll(async () => void (app = await startTestApp()));
afterAll(() => app.close());

const cart = "spiffe://east/ns/shop/sa/cart";
function issueRequest(spiffeId = cart, more: object = {}) {
  return { csr: newCsr().csr, attestation: { type: "operator", spiffeId }, ...more };
}
async function issue(spiffeId = cart): Promise<IssuedCertificate> {
  const answer = await app.call("POST", "/v1/certificates", { as: "admin", json: issueRequest(spiffeId) });
  expect(answer.status).toBe(201);
  return answer.json as unknown as IssuedCertificate;
}

describe("POST /v1/certificates", () => {
  test("an operator gets a certificate for an ID in its scope", async () => {
    const answer = await app.call("POST", "/v1/certificates", { as: "operator", json: issueRequest() });
    expect(answer.status).toBe(201);
    const issued = issuedCertificate.strict().parse(answer.json);
    expect(new X509Certificate(issued.chain).subjectAltName).toBe(`URI:${cart}`);
    expect(issued.bundles).toHaveProperty("east");
    expect(answer.headers.get("cache-control")).toBe("no-store");
  });

  test("a join token gets one without an API token, and only once", async () => {
    const created = await app.call("POST", "/v1/tokens", { as: "operator", json: { type: "join", spiffeId: cart } });
    const request = () => ({ csr: newCsr().csr, attestation: { type: "join-token", token: created.json["token"] } });
    expect((await app.call("POST", "/v1/certificates", { json: request() })).status).toBe(201);
    const second = await app.call("POST", "/v1/certificates", { json: request() });
    expect([second.status, second.problem.code]).toEqual([403, "token_already_redeemed"]);
  });

  test("with the same Idempotency-Key a retry gets the same certificate, another request is refused", async () => {
    const request = issueRequest();
    const headers = { "idempotency-key": "retry-1" };
    const first = await app.call("POST", "/v1/certificates", { as: "admin", json: request, headers });
    const retry = await app.call("POST", "/v1/certificates", { as: "admin", json: request, headers });
    expect(retry.json["serialNumber"]).toBe(first.json["serialNumber"]);
    const other = await app.call("POST", "/v1/certificates", { as: "admin", json: issueRequest(), headers });
    expect([other.status, other.problem.code]).toEqual([422, "idempotency_key_reused"]);
  });

  test.for([
    [
      "an ID outside the operator's scope",
      "operator",
      () => issueRequest("spiffe://east/ns/bank/sa/vault"),
      403,
      "forbidden",
    ],
    ["no API token for an operator attestation", undefined, () => issueRequest(), 401, "unauthenticated"],
    ["an auditor", "auditor", () => issueRequest(), 403, "forbidden"],
    ["an ID of another trust domain", "admin", () => issueRequest("spiffe://west/ns/shop"), 403, "forbidden"],
    ["an ID that is none", "admin", () => issueRequest("https://east/ns"), 400, "spiffe_id_refused"],
    [
      "a DNS name that is none",
      "admin",
      () => ({ ...issueRequest(), attestation: { type: "operator", spiffeId: cart, dnsNames: ["*"] } }),
      400,
      "dns_name_refused",
    ],
    [
      "a lifetime above the ceiling",
      "admin",
      () => issueRequest(cart, { lifetimeSeconds: 30 * 86_400 }),
      400,
      "lifetime_refused",
    ],
    ["a CSR that is none", "admin", () => ({ ...issueRequest(), csr: "AAAA" }), 400, "csr_refused"],
    [
      "an unknown join token",
      undefined,
      () => ({ csr: newCsr().csr, attestation: { type: "join-token", token: "csjoin_x" } }),
      403,
      "token_unknown",
    ],
    [
      "a renewal proof that is none",
      undefined,
      () => ({ csr: newCsr().csr, attestation: { type: "svid", proof: "a.b.c" } }),
      403,
      "proof_refused",
    ],
    [
      "an unknown attestation",
      "admin",
      () => ({ csr: newCsr().csr, attestation: { type: "vouching" } }),
      400,
      "invalid_request",
    ],
    ["a member nobody knows", "admin", () => issueRequest(cart, { lifetime: 60 }), 400, "invalid_request"],
    [
      "a member that the attestation does not have",
      "admin",
      () => ({ ...issueRequest(), attestation: { type: "operator", spiffeId: cart, dns: ["a"] } }),
      400,
      "invalid_request",
    ],
    ["no CSR", "admin", () => ({ attestation: { type: "operator", spiffeId: cart } }), 400, "invalid_request"],
  ] as const)("%s is refused", async ([, as, request, status, code]) => {
    const answer = await app.call("POST", "/v1/certificates", { ...(as && { as }), json: request() });
    expect([answer.status, answer.problem.code]).toEqual([status, code]);
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
  });

  test("a key that was certified before is refused", async () => {
    const { csr } = newCsr();
    const request = { csr, attestation: { type: "operator", spiffeId: cart } };
    await app.call("POST", "/v1/certificates", { as: "admin", json: request });
    const again = await app.call("POST", "/v1/certificates", { as: "admin", json: request });
    expect([again.status, again.problem.code]).toEqual([409, "key_reused"]);
  });

  test("an Idempotency-Key with more than 255 characters is refused", async () => {
    const answer = await app.call("POST", "/v1/certificates", {
      as: "admin",
      json: issueRequest(),
      headers: { "idempotency-key": "k".repeat(256) },
    });
    expect([answer.status, answer.problem.code]).toEqual([400, "invalid_request"]);
  });
});

describe("GET /v1/certificates", () => {
  test("pages follow each other by cursor, newest first, and hold everything once", async () => {
    const paged = await startTestApp();
    for (let n = 0; n < 5; n++)
      await paged.ca.issue(
        { csr: newCsr().csr, attestation: { type: "operator", spiffeId: `spiffe://east/n/${n}` } },
        { caller: paged.admin },
      );
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const answer = await paged.call(
        "GET",
        `/v1/certificates?spiffeId=spiffe://east/n/*&limit=2${cursor ? `&cursor=${cursor}` : ""}`,
        { as: "auditor" },
      );
      const page: CertificatePage = certificatePage.strict().parse(answer.json);
      expect(page.certificates.length).toBeLessThanOrEqual(2);
      seen.push(...page.certificates.map(({ spiffeId }) => spiffeId));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    expect(seen).toEqual([4, 3, 2, 1, 0].map((n) => `spiffe://east/n/${n}`));
    await paged.close();
  });

  test("the revoked are paged in the order of their revocation, by a cursor that no other listing takes", async () => {
    const [first, second] = [await issue("spiffe://east/paged/1"), await issue("spiffe://east/paged/2")];
    for (const { serialNumber } of [second, first])
      await app.call("POST", `/v1/certificates/${serialNumber}/revoke`, { as: "admin", json: { reason: "superseded" } });
    const query = "spiffeId=spiffe://east/paged/*&limit=1";
    const page = async (more: string) =>
      (await app.call("GET", `/v1/certificates?${query}&${more}`, { as: "admin" })).json as unknown as CertificatePage;
    const { certificates, nextCursor } = await page("status=revoked");
    expect(certificates.map((one) => one.serialNumber)).toEqual([first.serialNumber]);
    const next = await page(`status=revoked&cursor=${nextCursor}`);
    expect(next.certificates.map((one) => one.serialNumber)).toEqual([second.serialNumber]);
    expect(next.nextCursor).toBeUndefined();
    const other = await app.call("GET", `/v1/certificates?${query}&cursor=${nextCursor}`, { as: "admin" });
    expect([other.status, other.problem.code]).toEqual([400, "invalid_request"]);
    const { nextCursor: ofAll } = await page("");
    const ofRevoked = await app.call("GET", `/v1/certificates?${query}&status=revoked&cursor=${ofAll}`, { as: "admin" });
    expect([ofRevoked.status, ofRevoked.problem.code]).toEqual([400, "invalid_request"]);
  });

  test("filters narrow by ID, status and end of life", async () => {
    const { serialNumber } = await issue("spiffe://east/filter/me");
    const list = async (query: string) =>
      (
        (await app.call("GET", `/v1/certificates?spiffeId=spiffe://east/filter/*&${query}`, { as: "admin" }))
          .json as unknown as CertificatePage
      ).certificates.map((one) => one.serialNumber);
    expect(await list("status=valid")).toEqual([serialNumber]);
    expect(await list("status=revoked")).toEqual([]);
    const soon = new Date(app.clock.nowMs + 1000).toISOString();
    const later = new Date(app.clock.nowMs + 2 * dayMs).toISOString();
    expect(await list(`expiresBefore=${encodeURIComponent(soon)}`)).toEqual([]);
    expect(await list(`expiresBefore=${encodeURIComponent(later)}`)).toEqual([serialNumber]);
  });

  test.for([
    "limit=0",
    "limit=1001",
    "limit=ten",
    "limit=0x10",
    "limit=",
    "limit=1e3",
    "limit=-1",
    "cursor=AAAA",
    "cursor=",
    "cursor=MTphYmM",
    "status=lost",
    "expiresBefore=tomorrow",
    "spiffeId=",
    "unknown=1",
  ])("the query ?%s is refused", async (query) => {
    const answer = await app.call("GET", `/v1/certificates?${query}`, { as: "admin" });
    expect([answer.status, answer.problem.code]).toEqual([400, "invalid_request"]);
  });

  test.for(["x", "spiffe://east/ns/sh*", "spiffe://East/*", "spiffe://east/*/sa/cart"])("what is no pattern, as %s, is refused: an empty list would say that nobody has it", async (spiffeId) => {
    const answer = await app.call("GET", `/v1/certificates?${new URLSearchParams({ spiffeId })}`, { as: "admin" });
    expect([answer.status, answer.problem.code]).toEqual([400, "spiffe_id_refused"]);
  });
});

describe("GET /v1/certificates/{serial}", () => {
  test("answers with the certificate's facts and chain, for a serial number in any case", async () => {
    const issued = await issue();
    const answer = await app.call("GET", `/v1/certificates/${issued.serialNumber.toUpperCase()}`, { as: "auditor" });
    const detail = certificateDetail.strict().parse(answer.json);
    expect(detail).toMatchObject({
      serialNumber: issued.serialNumber,
      spiffeId: cart,
      chain: issued.chain,
      status: "valid",
      logIndex: issued.logIndex,
    });
    expect(detail.fingerprint).toBe(new X509Certificate(issued.chain).fingerprint256.replaceAll(":", "").toLowerCase());
  });

  test("answers with the chain alone when PEM is accepted", async () => {
    const issued = await issue();
    const answer = await app.call("GET", `/v1/certificates/${issued.serialNumber}`, {
      as: "auditor",
      headers: { accept: "application/x-pem-file" },
    });
    expect(answer.headers.get("content-type")).toBe("application/x-pem-file");
    expect(answer.text).toBe(issued.chain);
  });

  test("an unknown serial number is not found, and one that is none is refused", async () => {
    const unknown = await app.call("GET", `/v1/certificates/${"0".repeat(32)}`, { as: "auditor" });
    expect([unknown.status, unknown.problem.code]).toEqual([404, "not_found"]);
    const malformed = await app.call("GET", "/v1/certificates/xyz", { as: "auditor" });
    expect([malformed.status, malformed.problem.code]).toEqual([400, "invalid_request"]);
  });

  test("its status follows the clock", async () => {
    const timed = await startTestApp();
    const { serialNumber, notAfter } = await timed.ca.issue(
      { csr: newCsr().csr, attestation: { type: "operator", spiffeId: cart } },
      { caller: timed.admin },
    );
    timed.clock.nowMs = Date.parse(notAfter) + 1000;
    expect((await timed.call("GET", `/v1/certificates/${serialNumber}`, { as: "auditor" })).json["status"]).toBe(
      "expired",
    );
    await timed.close();
  });
});

describe("POST /v1/certificates/{serial}/revoke", () => {
  test("revokes once, with the reason", async () => {
    const { serialNumber } = await issue();
    const answer = await app.call("POST", `/v1/certificates/${serialNumber}/revoke`, {
      as: "admin",
      json: { reason: "keyCompromise" },
    });
    expect(answer.status).toBe(200);
    expect(revocation.strict().parse(answer.json)).toMatchObject({ serialNumber, reason: "keyCompromise" });
    expect((await app.call("GET", `/v1/certificates/${serialNumber}`, { as: "admin" })).json).toMatchObject({
      status: "revoked",
      revocationReason: "keyCompromise",
    });
    const again = await app.call("POST", `/v1/certificates/${serialNumber}/revoke`, {
      as: "admin",
      json: { reason: "keyCompromise" },
    });
    expect([again.status, again.problem.code]).toEqual([409, "already_revoked"]);
  });

  test("an unknown serial number and an unknown reason are refused", async () => {
    const unknown = await app.call("POST", `/v1/certificates/${"0".repeat(32)}/revoke`, {
      as: "admin",
      json: { reason: "superseded" },
    });
    expect([unknown.status, unknown.problem.code]).toEqual([404, "not_found"]);
    const { serialNumber } = await issue();
    const more = await app.call("POST", `/v1/certificates/${serialNumber}/revoke`, {
      as: "admin",
      json: { reason: "superseded", invalidityDate: "2026-01-01" },
    });
    expect([more.status, more.problem.code]).toEqual([400, "invalid_request"]);
    const reason = await app.call("POST", `/v1/certificates/${serialNumber}/revoke`, {
      as: "admin",
      json: { reason: "certificateHold" },
    });
    expect([reason.status, reason.problem.code]).toEqual([400, "invalid_request"]);
  });
});
