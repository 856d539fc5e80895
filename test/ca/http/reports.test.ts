import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeRenewalProof } from "../../../ca/pki/renewal-proof.ts";
import { chainOf, newCsr, newKey } from "../../support/running-ca.ts";
import { startTestApp, type TestApp } from "../../support/running-app.ts";

let app: TestApp;
beforeAll(async () => void (app = await startTestApp()));
afterAll(() => app.close());

const cart = "spiffe://east/ns/shop/sa/cart";

/** A report by a proxy of its own, as text. */
async function signed(spiffeId: string, text: string): Promise<{ readonly report: string; readonly proof: string }> {
  const key = newKey();
  const issued = await app.ca.issue({ csr: newCsr(key).csr, attestation: { type: "operator", spiffeId } }, { caller: app.admin });
  return { report: text, proof: encodeRenewalProof({ chain: chainOf(issued), privateKey: key, csr: Buffer.from(text), audience: "east", nowMs: app.clock.nowMs, purpose: "report" }) };
}

const edges = (more: object = {}): string => JSON.stringify({
  type: "edges", reportedAt: new Date(app.clock.nowMs).toISOString(),
  edges: [{ direction: "inbound", clientId: "spiffe://east/ns/web/sa/web", serverId: cart, secured: true, connections: 1, ...more }],
});

describe("POST /v1/reports", () => {
  test("takes what is signed, and each sees of it what it may see", async () => {
    expect((await app.call("POST", "/v1/reports", { json: await signed(cart, edges()) })).status).toBe(204);
    for (const as of ["admin", "auditor", "operator"] as const) {
      expect((await app.call("GET", "/v1/edges", { as })).json).toMatchObject({ edges: [{ serverId: cart, secured: true }] });
    }
    const bank = "spiffe://east/ns/bank/sa/vault";
    const other = edges({ serverId: bank, clientId: "" });
    expect((await app.call("POST", "/v1/reports", { json: await signed(bank, other) })).status).toBe(204);
    app.clock.nowMs += 1000;
    expect((await app.call("GET", "/v1/edges", { as: "operator" })).text).not.toContain("bank");
    expect((await app.call("GET", "/v1/edges", { as: "auditor" })).text).toContain("bank");
    expect((await app.call("GET", "/v1/edge-groups", { as: "operator" })).text).not.toContain("bank");
    expect((await app.call("GET", "/v1/proxies", { as: "operator" })).text).not.toContain("bank");
    expect((await app.call("GET", "/v1/edge-groups", { as: "auditor" })).text).toContain("bank");
  });

  test("that names somebody who cannot be is in nobody's way: whose scope is looked at sees the rest", async () => {
    const odd = edges({ clientId: "<img src=x>/../\u202e not an ID" });
    expect((await app.call("POST", "/v1/reports", { json: await signed(cart, odd) })).status).toBe(204);
    app.clock.nowMs += 1000;
    for (const as of ["admin", "auditor", "operator"] as const) {
      const { status, text } = await app.call("GET", "/v1/edges", { as });
      expect([as, status, text.includes("<img src=x>")]).toEqual([as, 200, true]);
    }
    // What is no ID is in nobody's scope: it does not show an operator who else names it.
    const beyond = edges({ direction: "outbound", clientId: "spiffe://east/ns/bank/sa/vault", serverId: "not an ID" });
    expect((await app.call("POST", "/v1/reports", { json: await signed("spiffe://east/ns/bank/sa/vault", beyond) })).status).toBe(204);
    app.clock.nowMs += 10_000;
    expect((await app.call("GET", "/v1/edges", { as: "operator" })).text).not.toContain("bank");
    expect((await app.call("GET", "/v1/edges", { as: "admin" })).text).toContain('"serverId":"not an ID"');
  });

  test.each([
    ["is not JSON", "{"], ["is of no kind", '{"type":"rumour"}'], ["has an unknown member", edgesWith({ password: "x" })],
    ["has a reason that is no word", edgesWith({ secured: false, reason: "\u001b[2J" })], ["has too many connections", edgesWith({ connections: 1e12 })],
  ])("whose text %s is refused", async (_what, text) => {
    const answer = await app.call("POST", "/v1/reports", { json: await signed(cart, text) });
    expect([answer.status, answer.problem.code]).toEqual([400, "invalid_request"]);
  });

  test("that is larger than a report can be is refused", async () => {
    const answer = await app.call("POST", "/v1/reports", { json: { report: "x".repeat(200_000), proof: "x" } });
    expect(answer.problem.code).toBe("body_too_large");
  });
});

/** Made before there is a clock to ask. */
function edgesWith(more: object): string {
  return JSON.stringify({ type: "edges", reportedAt: "2026-01-01T00:00:00.000Z", edges: [{ direction: "inbound", clientId: "", serverId: cart, secured: true, connections: 1, ...more }] });
}

describe("POST /v1/taps", () => {
  test("is a stream of events, and over for everybody once its reader has gone", async () => {
    const response = await app.app.request("/v1/taps", {
      method: "POST", headers: { authorization: `Bearer ${app.tokens.auditor}`, "content-type": "application/json" }, body: JSON.stringify({ workload: cart }),
    });
    expect([response.status, response.headers.get("content-type"), response.headers.get("cache-control")]).toEqual([200, "text/event-stream", "no-store, no-transform"]);
    const reader = response.body!.getReader();
    expect(Buffer.from((await reader.read()).value!).toString()).toMatch(/^event: tap\ndata: \{"tap":"[0-9a-f]{32}","seconds":60,"limit":1000\}\n\n$/);
    const open = () => app.store.reports({ kind: "tap", nowMs: app.clock.nowMs, limit: 9 });
    expect(await open()).toHaveLength(1);
    await reader.cancel();
    expect(await open()).toHaveLength(0);
  });

  test.each([{ seconds: 601 }, { limit: 10_001 }, { method: "get" }, { direction: "up" }, { header: "x" }])("with %o is refused, and in nobody's audit log", async (more) => {
    const before = (await app.store.checkpoint())?.size;
    const answer = await app.call("POST", "/v1/taps", { as: "admin", json: { workload: cart, ...more } });
    expect(answer.problem.code).toBe("invalid_request");
    expect((await app.store.checkpoint())?.size).toBe(before);
  });

  test("is not for operators, whose scope ends with names", async () => {
    expect((await app.call("POST", "/v1/taps", { as: "operator", json: { workload: cart } })).problem.code).toBe("forbidden");
  });
});
