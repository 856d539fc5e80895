import type { KeyObject } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { OperatorList } from "../../../ca/contract/operators.ts";
import type { CaServices } from "../../../ca/http/services.ts";
import { operatorList, operatorSummary } from "../../../ca/http/schemas/operators.ts";
import { encodeRequestAuthorization, type SignedRequest } from "../../../ca/pki/request-authorization.ts";
import { encodeRenewalProof } from "../../../ca/pki/renewal-proof.ts";
import { testAuthority } from "../../support/test-ca.ts";
import { auditEvents, chainOf, hourMs, newCsr, newKey } from "../../support/running-ca.ts";
import { startTestApp, type Answered, type TestApp } from "../../support/running-app.ts";

let app: TestApp;
beforeAll(async () => void (app = await startTestApp()));
beforeEach(() => void (app.clock.nowMs += 300_000));
afterAll(() => app.close());

interface Svid {
  readonly chain: readonly Uint8Array[];
  readonly privateKey: KeyObject;
  readonly serialNumber: string;
}

async function svidOf(spiffeId: string): Promise<Svid> {
  const { csr, privateKey } = newCsr();
  const issued = await app.ca.issue({ csr, attestation: { type: "operator", spiffeId } }, { caller: app.admin });
  return { chain: chainOf(issued), privateKey, serialNumber: issued.serialNumber };
}

let nonces = 0;
const freshNonce = (): string => `nonce-${String(++nonces).padStart(20, "0")}`;

interface Faults {
  readonly nonce?: string;
  readonly nowMs?: number;
  readonly audience?: string;
  readonly signed?: Partial<SignedRequest>;
  /** What is sent instead of the body that was signed. */
  readonly sent?: unknown;
}

/** A request signed by the SVID; one fault at a time. */
async function signed(svid: Svid, method: string, path: string, json?: unknown, { nonce = freshNonce(), nowMs = app.clock.nowMs, audience = "east", signed: lie = {}, sent = json }: Faults = {}): Promise<Answered> {
  const request = { method, target: path, body: json === undefined ? "" : JSON.stringify(json), ...lie };
  const authorization = encodeRequestAuthorization({ ...request, chain: svid.chain, privateKey: svid.privateKey, audience, nowMs, nonce });
  return app.call(method, path, { headers: { authorization }, ...(sent !== undefined && { json: sent }) });
}

async function bind(spiffeId: string, role: string, scope?: readonly string[]): Promise<Answered> {
  return app.call("POST", "/v1/operators", { as: "admin", json: { spiffeId, role, ...(scope && { scope }) } });
}

const unbind = (spiffeId: string): Promise<Answered> => app.call("DELETE", `/v1/operators?spiffeId=${encodeURIComponent(spiffeId)}`, { as: "admin" });
const joinToken = { type: "join", spiffeId: "spiffe://east/ns/shop/sa/cart" };
const alice = "spiffe://east/ops/alice";

describe("a request signed by an SVID", () => {
  let svid: Svid;
  beforeAll(async () => {
    svid = await svidOf(alice);
    await bind(alice, "operator", ["spiffe://east/ns/shop/*"]);
  });
  afterAll(() => unbind(alice));

  test("has the role that is bound to the ID, within its scope, and is in the audit log by that ID", async () => {
    expect((await signed(svid, "POST", "/v1/tokens", joinToken)).json).toMatchObject({ createdBy: alice });
    expect((await signed(svid, "GET", "/v1/certificates?limit=5")).status).toBe(200);
    const refused = await signed(svid, "POST", "/v1/tokens", { ...joinToken, spiffeId: "spiffe://east/ns/bank/a" });
    expect([refused.status, refused.problem.code]).toEqual([403, "forbidden"]);
    await expect.poll(async () => (await auditEvents(app.store)).at(-1)).toMatchObject({ type: "request.denied", actor: alice });
  });

  test("issues", async () => {
    const answer = await signed(svid, "POST", "/v1/certificates", { csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/by-alice" } });
    expect(answer.status).toBe(201);
  });

  test.for<[string, Faults, string]>([
    ["another method", { signed: { method: "DELETE" } }, "proof_refused"],
    ["another path", { signed: { target: "/v1/certificates" } }, "proof_refused"],
    ["a query it did not sign", { signed: { target: "/v1/tokens?x=1" } }, "proof_refused"],
    ["another body", { sent: { ...joinToken, spiffeId: "spiffe://east/ns/shop/sa/other" } }, "proof_refused"],
    ["another trust domain", { audience: "west" }, "proof_refused"],
    ["a clock two minutes late", { nowMs: 0 }, "proof_refused"],
    ["a nonce that is too short", { nonce: "n" }, "unauthenticated"],
  ])("is good for nothing else: %s", async ([, faults, code]) => {
    const answer = await signed(svid, "POST", "/v1/tokens", joinToken, "nowMs" in faults ? { nowMs: app.clock.nowMs - 61_000 } : faults);
    expect(answer.problem.code).toBe(code);
  });

  test("acts once: whoever overheard it gets nothing, also after a minute", async () => {
    expect((await signed(svid, "POST", "/v1/tokens", joinToken)).status).toBe(201);
    app.clock.nowMs += 100_000;
    const nonce = freshNonce();
    const once = { nonce, nowMs: app.clock.nowMs + 59_000 };
    expect((await signed(svid, "POST", "/v1/tokens", joinToken, once)).status).toBe(201);
    expect((await signed(svid, "POST", "/v1/tokens", joinToken, once)).problem.code).toBe("proof_refused");
    app.clock.nowMs += 118_000;
    expect((await signed(svid, "POST", "/v1/tokens", joinToken, once)).problem.code).toBe("proof_refused");
  });

  test("acts once on all replicas, and after a restart of the one that acted", async () => {
    const replica = await startTestApp({ dataDir: app.dataDir, nowMs: app.clock.nowMs });
    const json = { ...joinToken };
    const once = { nonce: freshNonce() };
    expect((await signed(svid, "POST", "/v1/tokens", json, once)).status).toBe(201);
    const authorization = encodeRequestAuthorization({
      method: "POST", target: "/v1/tokens", body: JSON.stringify(json), chain: svid.chain, privateKey: svid.privateKey, audience: "east", nowMs: app.clock.nowMs, ...once,
    });
    const answer = await replica.call("POST", "/v1/tokens", { headers: { authorization }, json });
    expect([answer.status, answer.problem.code]).toEqual([403, "proof_refused"]);
    await replica.close();
  });

  test("is not spent by who may not act, or too often: nobody fills the memory of those who may", async () => {
    const workload = await svidOf("spiffe://east/ns/shop/sa/nosy");
    const spent: string[] = [];
    const wrap = (services: CaServices): CaServices => ({
      ...services,
      spendSigned: (authorization, spiffeId) => services.spendSigned(authorization, spiffeId).then(() => void spent.push(spiffeId)),
    });
    const replica = await startTestApp({ dataDir: app.dataDir, nowMs: app.clock.nowMs, settings: { callerRate: "1" }, wrap });
    const post = async ({ chain, privateKey }: Svid) => {
      const request = { method: "POST", target: "/v1/tokens", body: JSON.stringify(joinToken) };
      const authorization = encodeRequestAuthorization({ ...request, chain, privateKey, audience: "east", nowMs: app.clock.nowMs, nonce: freshNonce() });
      return (await replica.call("POST", "/v1/tokens", { headers: { authorization }, json: joinToken })).status;
    };
    expect(await post(workload)).toBe(403);
    const statuses: number[] = [];
    for (let index = 0; index < 12; index++) statuses.push(await post(svid));
    expect(statuses).toEqual([...Array<number>(10).fill(201), 429, 429]);
    expect(spent).toEqual(Array<string>(10).fill(alice));
    await replica.close();
  });

  test("is no way for a workload to issue: it attests in the body", async () => {
    const workload = await svidOf("spiffe://east/ns/shop/sa/plain");
    const { token } = await app.ca.createToken({ type: "join", spiffeId: "spiffe://east/ns/shop/sa/other" }, app.admin);
    const answer = await signed(workload, "POST", "/v1/certificates", { csr: newCsr().csr, attestation: { type: "join-token", token } });
    expect([answer.status, answer.problem.code]).toEqual([403, "forbidden"]);
  });

  test("is refused when its nonce is another than the one that was signed", async () => {
    const authorization = encodeRequestAuthorization({
      method: "POST", target: "/v1/tokens", body: JSON.stringify(joinToken), chain: svid.chain, privateKey: svid.privateKey, audience: "east", nowMs: app.clock.nowMs, nonce: freshNonce(),
    }).replace(/nonce=".*"/, `nonce="${freshNonce()}"`);
    expect((await app.call("POST", "/v1/tokens", { headers: { authorization }, json: joinToken })).problem.code).toBe("proof_refused");
  });

  test("is refused when it is a renewal proof", async () => {
    const nonce = freshNonce();
    const proof = encodeRenewalProof({ chain: svid.chain, privateKey: svid.privateKey, audience: "east", nowMs: app.clock.nowMs, csr: Buffer.from(`GET\n/v1/certificates\n${nonce}\n`) });
    const answer = await app.call("GET", "/v1/certificates", { headers: { authorization: `SVID proof="${proof}", nonce="${nonce}"` } });
    expect([answer.status, answer.problem.code]).toEqual([403, "proof_refused"]);
  });

  test("is refused when another key signed, and when another CA vouches for the ID", async () => {
    expect((await signed({ ...svid, privateKey: newKey() }, "GET", "/v1/certificates")).problem.code).toBe("proof_refused");
    const forged = testAuthority({ trustDomain: "east" }).leaf({ spiffeId: alice });
    expect((await signed({ ...forged }, "GET", "/v1/certificates")).problem.code).toBe("proof_refused");
  });

  test("is refused from the moment its certificate is revoked", async () => {
    const gone = await svidOf(alice);
    expect((await signed(gone, "GET", "/v1/certificates")).status).toBe(200);
    await app.ca.revoke(gone.serialNumber, "keyCompromise", app.admin);
    expect((await signed(gone, "GET", "/v1/certificates")).problem.code).toBe("certificate_revoked");
  });
});

describe("the role of an ID", () => {
  test("is none until one is bound, and none again when it is taken back", async () => {
    const svid = await svidOf("spiffe://east/ops/bob");
    expect((await signed(svid, "GET", "/v1/certificates")).problem.code).toBe("forbidden");
    const bound = await bind("spiffe://east/ops/bob", "auditor");
    expect(bound.status).toBe(201);
    expect(operatorSummary.strict().parse(bound.json)).toMatchObject({ role: "auditor", createdBy: expect.stringMatching(/^token:/) });
    expect((await signed(svid, "GET", "/v1/audit/entries")).status).toBe(200);
    expect((await unbind("spiffe://east/ops/bob")).status).toBe(204);
    expect((await signed(svid, "GET", "/v1/audit/entries")).problem.code).toBe("forbidden");
    expect((await unbind("spiffe://east/ops/bob")).problem.code).toBe("not_found");
    const events = (await auditEvents(app.store)).filter(({ name }) => name === "spiffe://east/ops/bob");
    expect(events.map(({ type }) => type)).toEqual(["operator.changed", "operator.removed"]);
  });

  test("says when it was used last, by whoever has it, and not by a proxy that does what each workload does", async () => {
    const [bound, id] = ["spiffe://east/ns/ci/*", "spiffe://east/ns/ci/sa/runner"];
    const lastUsedAt = async (): Promise<string | undefined> => (await app.ca.operators.list()).operators.find(({ spiffeId }) => spiffeId === bound)?.lastUsedAt;
    await bind(bound, "auditor");
    const svid = await svidOf(id);
    await signed(svid, "GET", "/v1/policy");
    await signed(svid, "POST", "/v1/tokens", joinToken);
    // What is reported is written in order: had these been noted, it would show by now.
    await app.store.report({ kind: "edges", name: "x", part: "", body: "{}", reportedAtMs: 1, expiresAtMs: 2 });
    expect(await lastUsedAt()).toBeUndefined();
    expect((await signed(svid, "GET", "/v1/audit/entries")).status).toBe(200);
    await expect.poll(lastUsedAt).toBe(new Date(app.clock.nowMs).toISOString());
    await unbind(bound);
    // Another replica is a little late to write what it saw of the binding that is gone.
    await app.store.report({ kind: "operator-use", name: bound, part: "", body: "", reportedAtMs: app.clock.nowMs, expiresAtMs: app.clock.nowMs + hourMs });
    app.clock.nowMs += 10;
    await bind(bound, "auditor");
    expect(await lastUsedAt()).toBeUndefined();
    await unbind(bound);
  });

  test("is that of the most specific binding", async () => {
    await bind("spiffe://east/team/*", "auditor");
    await bind("spiffe://east/team/dev/*", "operator", []);
    await bind("spiffe://east/team/dev/lead", "admin");
    const listed = operatorList.parse((await app.call("GET", "/v1/operators", { as: "auditor" })).json) satisfies OperatorList;
    expect(listed.operators.map(({ spiffeId }) => spiffeId)).toEqual(["spiffe://east/team/*", "spiffe://east/team/dev/*", "spiffe://east/team/dev/lead"]);
    const mayGet = async (id: string) => (await signed(await svidOf(id), "GET", "/v1/audit/entries")).status;
    expect(await mayGet("spiffe://east/team/qa")).toBe(200);
    expect(await mayGet("spiffe://east/team/dev/eve")).toBe(403);
    expect(await mayGet("spiffe://east/team/dev/lead")).toBe(200);
    expect(await mayGet("spiffe://east/teams/qa")).toBe(403);
  });

  test("changed by another replica counts after a second", async () => {
    const svid = await svidOf("spiffe://east/ops/carol");
    await app.ca.operators.list();
    const { documentSequence: expects } = await app.store.feedPosition();
    await app.store.commit({
      kind: "change-documents", expects, entries: ["{}"],
      changes: [{ kind: "operator", name: "spiffe://east/ops/carol", body: JSON.stringify({ spiffeId: "spiffe://east/ops/carol", role: "auditor", scope: [] }), changedAtMs: 0, changedBy: "x" }],
    });
    app.clock.nowMs += 1000;
    expect((await signed(svid, "GET", "/v1/audit/entries")).status).toBe(200);
    await unbind("spiffe://east/ops/carol");
  });

  test.for<[string, unknown, string]>([
    ["of another trust domain", { spiffeId: "spiffe://west/a", role: "auditor" }, "spiffe_id_refused"],
    ["that is no ID", { spiffeId: "alice", role: "auditor" }, "spiffe_id_refused"],
    ["with a star inside", { spiffeId: "spiffe://east/*/a", role: "auditor" }, "spiffe_id_refused"],
    ["that has one already", { spiffeId: "spiffe://east/team/*", role: "operator" }, "operator_exists"],
    ["below a prefix as admin", { spiffeId: "spiffe://east/x/*", role: "admin" }, "invalid_request"],
    ["with a scope for an auditor", { spiffeId: "spiffe://east/y", role: "auditor", scope: ["spiffe://east/*"] }, "invalid_request"],
    ["that does not exist", { spiffeId: "spiffe://east/z", role: "root" }, "invalid_request"],
  ])("is not bound to an ID %s", async ([, json, code]) => {
    expect((await app.call("POST", "/v1/operators", { as: "admin", json })).problem.code).toBe(code);
  });
});

describe("an ID that has a role", () => {
  test("is vouched for by admins alone: an operator would make itself what the ID is", async () => {
    const id = "spiffe://east/ns/shop/sa/deployer";
    const issue = (as: "operator" | "admin") => app.call("POST", "/v1/certificates", { as, json: { csr: newCsr().csr, attestation: { type: "operator", spiffeId: id } } });
    const join = (as: "operator" | "admin") => app.call("POST", "/v1/tokens", { as, json: { type: "join", spiffeId: id } });
    expect([(await issue("operator")).status, (await join("operator")).status]).toEqual([201, 201]);
    await bind(id, "auditor");
    app.clock.nowMs += 1;
    expect([(await issue("operator")).problem.code, (await join("operator")).problem.code]).toEqual(["forbidden", "forbidden"]);
    expect([(await issue("admin")).status, (await join("admin")).status]).toEqual([201, 201]);
    app.clock.nowMs += 2000;
    expect([(await issue("operator")).problem.code, (await join("operator")).problem.code]).toEqual(["forbidden", "forbidden"]);
    await unbind(id);
    expect((await issue("operator")).status).toBe(201);
  });

  test("still renews itself", async () => {
    const id = "spiffe://east/ops/dave";
    await bind(id, "auditor");
    const svid = await svidOf(id);
    const next = newCsr();
    const proof = encodeRenewalProof({ chain: svid.chain, privateKey: svid.privateKey, csr: next.der, audience: "east", nowMs: app.clock.nowMs });
    expect((await app.call("POST", "/v1/certificates", { json: { csr: next.csr, attestation: { type: "svid", proof } } })).status).toBe(201);
  });

  test("loses no certificate and no join token to an operator whose scope covers it: that would lock an admin out", async () => {
    const id = "spiffe://east/ns/shop/sa/root-of-all";
    const held = await svidOf(id);
    const { id: tokenId } = await app.ca.createToken({ type: "join", spiffeId: id }, app.admin);
    await bind(id, "admin");
    app.clock.nowMs += 1;
    const revoke = (serialNumber: string, as: "operator" | "admin") => app.call("POST", `/v1/certificates/${serialNumber}/revoke`, { as, json: { reason: "keyCompromise" } });
    const remove = (as: "operator" | "admin") => app.call("DELETE", `/v1/tokens/${tokenId}`, { as });
    const refused = await revoke(held.serialNumber, "operator");
    expect([refused.problem.code, refused.problem.detail]).toEqual(["forbidden", expect.stringContaining(`may not revoke certificates of ${id}`)]);
    expect((await remove("operator")).problem.code).toBe("forbidden");
    expect((await signed(held, "GET", "/v1/audit/entries")).status).toBe(200);
    expect([(await revoke(held.serialNumber, "admin")).status, (await remove("admin")).status]).toEqual([200, 204]);
    await unbind(id);
  });

  test("is the CA's own, too: only an admin revokes its certificate", async () => {
    const { token } = await app.ca.createToken({ type: "api", name: "wide", role: "operator", scope: ["spiffe://east/*"] }, app.admin);
    const [own] = (await app.store.certificates({ limit: 100, nowMs: 0 })).filter(({ attestation }) => attestation === "system");
    const answer = await app.call("POST", `/v1/certificates/${own!.serialNumber}/revoke`, { headers: { authorization: `Bearer ${token}` }, json: { reason: "unspecified" } });
    expect(answer.problem.code).toBe("forbidden");
  });
});
