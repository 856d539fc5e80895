import { hash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet } from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { AuthorityState } from "../../../ca/contract/authorities.ts";
import type { IssuedJwtSvid } from "../../../ca/contract/jwt-svids.ts";
import { parseBundle } from "../../../ca/pki/bundle.ts";
import { verifyJwtSvid } from "../../../ca/pki/jwt-svid.ts";
import { encodeRequestAuthorization } from "../../../ca/pki/request-authorization.ts";
import { auditEvents, chainOf, dayMs, newCsr, startTestCa } from "../../support/running-ca.ts";
import { startTestApp, type Answered, type TestApp } from "../../support/running-app.ts";

let app: TestApp;
const dataDir = mkdtempSync(join(tmpdir(), "countersign-jwt-keys-"));
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));
beforeAll(async () => void (app = await startTestApp({ settings: { issuerLifetime: "60d", issuerRenewBefore: "31d", certificateLifetimeMax: "30d" } })));
afterAll(() => app.close());
/** A second later, so that authorities are listed in the order they were made in. */
beforeEach(() => void (app.clock.nowMs += 1000));

const cart = "spiffe://east/ns/shop/sa/cart";
const path = "/v1/jwt-svids";
const ask = (json: object, as: "admin" | "operator" | "auditor" = "admin") => app.call("POST", path, { as, json });
const issued = ({ json }: Answered) => json as unknown as IssuedJwtSvid;
const bundle = () => parseBundle("east", app.ca.bundle().jwks);
const verify = (token: string, audience = "db") => verifyJwtSvid({ token, audience, bundles: new Map([["east", bundle()]]), nowMs: app.clock.nowMs });
const keys = async (state?: AuthorityState) => (await app.store.authorities()).filter((row) => row.type === "jwt" && (state === undefined || row.state === state)).map(({ id }) => id);
const published = () => bundle().jwtAuthorities.map(({ keyId }) => keyId);

let nonces = 0;
async function workload(spiffeId: string) {
  const { csr, privateKey } = newCsr();
  const certificate = await app.ca.issue({ csr, attestation: { type: "operator", spiffeId } }, { caller: app.admin });
  return (json: object, nonce = `nonce-${++nonces}`.padEnd(22, "x")) => {
    const body = JSON.stringify(json);
    const authorization = encodeRequestAuthorization({ method: "POST", target: path, body, nonce, chain: chainOf(certificate), privateKey, audience: "east", nowMs: app.clock.nowMs });
    return app.call("POST", path, { body, headers: { authorization } });
  };
}

describe("a workload", () => {
  test("gets a token for its own ID, which holds by the published bundle, and by jose", async () => {
    expect(published()).toEqual([]); // until somebody wants one there are no keys
    const asCart = await workload(cart);
    const answer = await asCart({ audience: ["db"] });
    expect(answer.status).toBe(201);
    const { token, keyId, expiresAt } = issued(answer);
    expect(verify(token)).toMatchObject({ id: { uri: cart }, audience: ["db"], expiresAtMs: Date.parse(expiresAt) });
    expect(Date.parse(expiresAt)).toBe(Math.floor(app.clock.nowMs / 1000) * 1000 + 300_000);
    const jwks = JSON.parse(app.ca.bundle().jwks) as JSONWebKeySet;
    const own = createLocalJWKSet({ keys: jwks.keys.filter(({ use }) => use === "jwt-svid").map(({ use: _, ...jwk }) => jwk) });
    const { payload, protectedHeader } = await jwtVerify(token, own, { audience: "db", currentDate: new Date(app.clock.nowMs) });
    expect(protectedHeader).toEqual({ alg: "ES256", kid: keyId, typ: "JWT" });
    expect(Object.keys(payload).sort()).toEqual(["aud", "exp", "iat", "jti", "sub"]);
    // The one that signs, and the next one, which is known to everybody before it is needed.
    expect(published().sort()).toEqual([...await keys("active"), ...await keys("prepared")].sort());
    expect(keyId).toBe((await keys("active"))[0]);
    expect(JSON.stringify(jwks)).not.toMatch(/"(?:d|alg|key_ops|ext)":/);
  });

  test("gets it once its entry is on disk, with the token's hash and never the token", async () => {
    const { token, logIndex, keyId } = issued(await (await workload(cart))({ audience: ["db"] }));
    const entry = (await auditEvents(app.store))[logIndex];
    expect(entry).toMatchObject({ type: "jwt-svid.issued", actor: cart, spiffeId: cart, audience: ["db"], authorityId: keyId, fingerprint: hash("sha256", token) });
    expect(JSON.stringify(await auditEvents(app.store))).not.toContain(token.split(".")[2]);
    expect(app.logged.join() + app.errors.join()).not.toContain(token.split(".")[2]);
  });

  test("gets none for another ID", async () => {
    expect((await (await workload(cart))({ audience: ["db"], spiffeId: `${cart}2` })).problem.code).toBe("forbidden");
  });

  test("is not answered a second time by a request that somebody overheard", async () => {
    const asCart = await workload(cart);
    expect((await asCart({ audience: ["db"] }, "n".repeat(22))).status).toBe(201);
    expect((await asCart({ audience: ["db"] }, "n".repeat(22))).problem.code).toBe("proof_refused");
  });

  test("whose certificate is revoked gets none", async () => {
    const { csr, privateKey } = newCsr();
    const certificate = await app.ca.issue({ csr, attestation: { type: "operator", spiffeId: cart } }, { caller: app.admin });
    await app.ca.revoke(certificate.serialNumber, "superseded", app.admin);
    const body = JSON.stringify({ audience: ["db"] });
    const authorization = encodeRequestAuthorization({ method: "POST", target: path, body, nonce: "r".repeat(22), chain: chainOf(certificate), privateKey, audience: "east", nowMs: app.clock.nowMs });
    expect((await app.call("POST", path, { body, headers: { authorization } })).problem.code).toBe("certificate_revoked");
  });
});

describe("an API caller", () => {
  test("gets tokens for IDs in its scope", async () => {
    const { token, expiresAt } = issued(await ask({ audience: ["db"], spiffeId: cart, lifetimeSeconds: 3600 }, "operator"));
    expect(verify(token).expiresAtMs).toBe(Date.parse(expiresAt));
  });

  test.each([
    ["an operator beyond its scope", "operator", { spiffeId: "spiffe://east/ns/bank/sa/x" }, "forbidden"],
    ["an auditor", "auditor", { spiffeId: cart }, "forbidden"],
    ["an admin for the CA itself", "admin", { spiffeId: "spiffe://east/countersign/ca" }, "spiffe_id_refused"],
    ["an admin for another trust domain", "admin", { spiffeId: "spiffe://west/x" }, "forbidden"],
    ["an admin for a trust domain", "admin", { spiffeId: "spiffe://east" }, "forbidden"],
    ["an admin for nobody", "admin", {}, "invalid_request"],
    ["an admin for longer than may be", "admin", { spiffeId: cart, lifetimeSeconds: 3601 }, "lifetime_refused"],
    ["an admin without an audience", "admin", { spiffeId: cart, audience: [] }, "invalid_request"],
    ["an admin with an audience twice", "admin", { spiffeId: cart, audience: ["a", "a"] }, "invalid_request"],
    ["an admin with nine audiences", "admin", { spiffeId: cart, audience: [..."abcdefghi"] }, "invalid_request"],
    ["an admin with an audience with a line break", "admin", { spiffeId: cart, audience: ["a\nb"] }, "invalid_request"],
  ] as const)("gets none: %s", async (_claim, as, json, code) => {
    expect((await ask({ audience: ["db"], ...json }, as)).problem.code).toBe(code);
  });

  test("that is no admin gets none for an ID with a role of its own", async () => {
    const spiffeId = "spiffe://east/ns/shop/sa/boss";
    await app.call("POST", "/v1/operators", { as: "admin", json: { spiffeId, role: "admin" } });
    expect((await ask({ audience: ["db"], spiffeId }, "operator")).problem.code).toBe("forbidden");
    expect((await ask({ audience: ["db"], spiffeId })).status).toBe(201);
  });
});

describe("keys", () => {
  test("are made once when many want the first token at once, and sign on after a restart", async () => {
    const host = await startTestCa({ dataDir });
    const tokens = await Promise.all(Array.from({ length: 20 }, () => host.ca.issueJwtSvid({ audience: ["db"], spiffeId: cart }, host.admin)));
    const made = (await host.store.authorities()).filter(({ type }) => type === "jwt").map(({ state }) => state);
    expect(made.sort()).toEqual(["active", "prepared"]);
    expect(new Set(tokens.map(({ token }) => token)).size).toBe(20);
    await host.close();
    const again = await startTestCa({ dataDir, nowMs: host.clock.nowMs + 1000 });
    const { keyId, token } = await again.ca.issueJwtSvid({ audience: ["db"], spiffeId: cart }, again.admin);
    expect(keyId).toBe(tokens[0]!.keyId);
    const published = parseBundle("east", again.ca.bundle().jwks);
    for (const one of [token, tokens[0]!.token]) expect(verifyJwtSvid({ token: one, audience: "db", bundles: new Map([["east", published]]), nowMs: again.clock.nowMs }).id.uri).toBe(cart);
    await again.close();
  });

  test("take over from each other without a gap, and leave the bundle when what they signed has ended", async () => {
    const before = issued(await ask({ audience: ["db"], spiffeId: cart, lifetimeSeconds: 3600 }));
    const [active, next] = [(await keys("active"))[0]!, (await keys("prepared"))[0]!];
    app.clock.nowMs += 7 * dayMs + 1000;
    const late = issued(await ask({ audience: ["db"], spiffeId: cart, lifetimeSeconds: 3600 }));
    expect([before.keyId, late.keyId]).toEqual([active, active]);
    // Whoever has not acknowledged the bundle that has the next one holds it back; here they have all vanished.
    for (const { serialNumber } of await app.store.certificates({ limit: 100, nowMs: app.clock.nowMs, status: "valid" })) {
      await app.store.acknowledge({ serialNumber, sequence: Number(app.ca.bundle().sequence) });
    }
    await app.ca.tick();
    expect(await keys("active")).toEqual([next]);
    expect(published().sort()).toEqual([active, next, ...await keys("prepared")].sort());
    expect(verify(late.token).id.uri).toBe(cart);
    app.clock.nowMs += 3_601_000;
    await app.ca.tick();
    expect(await keys("retired")).toEqual([active]);
    expect(published()).not.toContain(active);
    expect(issued(await ask({ audience: ["db"], spiffeId: cart })).keyId).toBe(next);
  });

  test("that are tainted are out of the bundle at once, the next one signs, and there is another next one", async () => {
    const { token, keyId } = issued(await ask({ audience: ["db"], spiffeId: cart }));
    const [next] = await keys("prepared");
    const { sequence } = app.ca.bundle();
    await app.ca.operateAuthority({ action: "taint", id: keyId }, app.admin);
    expect(published()).not.toContain(keyId);
    expect(Number(app.ca.bundle().sequence)).toBeGreaterThan(Number(sequence));
    expect(() => verify(token)).toThrow(expect.objectContaining({ code: "jwt_svid_key_unknown" }));
    const again = issued(await ask({ audience: ["db"], spiffeId: cart }));
    expect(again.keyId).toBe(next);
    expect(verify(again.token).id.uri).toBe(cart);
    expect((await keys("prepared")).length).toBe(1);
    await app.ca.operateAuthority({ action: "revoke", id: keyId }, app.admin);
    expect(await keys("revoked")).toEqual([keyId]);
    await expect(app.ca.operateAuthority({ action: "revoke", id: again.keyId }, app.admin)).rejects.toMatchObject({ code: "authority_state" });
    // No certificate of it was ever in a chain, so nobody has to be told of one.
    expect(await app.store.revocationSequence()).toBe((await app.store.revocations({ after: 0, limit: 99 })).at(-1)?.sequence ?? 0);
    expect((await app.store.revocations({ after: 0, limit: 99 })).filter(({ authorityId }) => authorityId === keyId)).toEqual([]);
  });

  test("sign nothing that leaves once another replica has tainted them", async () => {
    const { keyId } = issued(await ask({ audience: ["db"], spiffeId: cart }));
    await expect(app.store.commit({ kind: "issue-jwt-svid", authorityId: (await keys("revoked"))[0]!, expiresAtMs: 0, entries: ["{}"] })).rejects.toMatchObject({ code: "authority_superseded" });
    const [next] = await keys("prepared");
    const { bundleSequence } = (await app.store.state())!;
    await app.store.commit({
      kind: "change-authorities", bundleSequence: { from: bundleSequence, to: bundleSequence + 1 }, entries: ["{}"],
      changes: [{ authorityId: keyId, from: "active", to: "tainted", atMs: app.clock.nowMs }, { authorityId: next!, from: "prepared", to: "active", atMs: app.clock.nowMs }],
    });
    expect(issued(await ask({ audience: ["db"], spiffeId: cart })).keyId).toBe(next);
  });

  test("are rotated by hand, activated when everybody has the next one, and retired by hand only when unused", async () => {
    await app.ca.tick();
    const { keyId } = issued(await ask({ audience: ["db"], spiffeId: cart }));
    const [next] = await keys("prepared");
    await workload(cart);
    await expect(app.ca.operateAuthority({ action: "activate", id: next! }, app.admin)).rejects.toMatchObject({ code: "authority_held_back", message: expect.stringContaining(cart) });
    await app.ca.operateAuthority({ action: "rotate", type: "jwt" }, app.admin);
    expect(await keys("active")).toEqual([keyId]);
    expect((await app.ca.authorities()).find(({ id }) => id === next)?.waitsFor).toMatchObject({ count: expect.any(Number) });
    await app.ca.operateAuthority({ action: "activate", id: next!, force: true }, app.admin);
    expect(await keys("active")).toEqual([next]);
    await expect(app.ca.operateAuthority({ action: "retire", id: keyId }, app.admin)).rejects.toMatchObject({ code: "authority_in_use" });
  });

  test("are no anchors, sign no CRL, and no workload may have one", async () => {
    const [id] = await keys("active");
    expect(bundle().x509Authorities.length).toBe(1);
    for (const list of ["authorities.crl", "full.crl"]) expect((await app.call("GET", `/crl/${id}/${list}`)).status).toBe(404);
    expect((await app.ca.authorities()).find((one) => one.id === id)).toMatchObject({ type: "jwt", state: "active", key: "sealed", keyAlgorithm: "ec-p256" });
  });
});
