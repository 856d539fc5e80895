import { expect, test } from "vitest";
import { decodeEntry, encodeEntry } from "../../../ca/audit/event.ts";
import { verifyLog } from "../../../ca/audit/verify.ts";
import { dayMs, newCsr, proofFor, startTestCa } from "../../support/running-ca.ts";

test.each([
  ["a key that is not there", () => "aa".repeat(20)],
  ["an issuer", (ids: Record<string, string>) => ids["issuer"]!],
  ["a key that was tainted before", (ids: Record<string, string>) => ids["tainted"]!],
])("an entry about a JWT-SVID by %s is found, though it is sealed", async (_what, choose) => {
  const { ca, store, admin, close } = await startTestCa();
  try {
    const { keyId } = await ca.issueJwtSvid({ audience: ["db"], spiffeId: "spiffe://east/a" }, admin);
    await ca.operateAuthority({ action: "taint", id: keyId }, admin);
    await ca.close();
    const authorityId = choose({ issuer: (await store.authorities()).find(({ type }) => type === "issuer")!.id, tainted: keyId });
    const time = new Date().toISOString();
    const entry = encodeEntry({ type: "jwt-svid.issued", jwtId: "x", spiffeId: "spiffe://east/a", audience: ["db"], authorityId, fingerprint: "", issuedAt: time, expiresAt: time }, "system", 0);
    expect((await verifyLog({ store })).ok).toBe(true);
    const { logIndex } = await store.commit({ kind: "record", entries: [entry] });
    expect(await verifyLog({ store })).toMatchObject({ ok: false, kind: "entry_without_row", firstIndex: logIndex, message: expect.stringContaining(authorityId) });
  } finally {
    await close();
  }
});

test("a CA's log verifies after everything the CA does", async () => {
  const { ca, store, admin, clock, close } = await startTestCa();
  try {
    const spiffeId = "spiffe://east/ns/shop/sa/cart";
    const join = await ca.createToken({ type: "join", spiffeId, dnsNames: ["cart.shop"] }, admin);
    const first = newCsr();
    const issued = await ca.issue({ csr: first.csr, attestation: { type: "join-token", token: join.token } }, {});
    const next = newCsr();
    await ca.issue({ csr: next.csr, attestation: { type: "svid", proof: proofFor(issued, first.privateKey, next.der, clock.nowMs) } }, {});
    const operated = await ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/pay" } }, { caller: admin });
    await ca.revoke(operated.serialNumber, "keyCompromise", admin);
    const api = await ca.createToken({ type: "api", name: "ci", role: "operator", scope: ["spiffe://east/ns/shop/*"], expiresInSeconds: 600 }, admin);
    await ca.deleteToken(api.id, admin);
    await expect(ca.issue({ csr: newCsr().csr, attestation: { type: "join-token", token: join.token } }, {})).rejects.toMatchObject({ code: "token_already_redeemed" });
    ca.recordDenial({ code: "unauthenticated", method: "GET", path: "/v1/tokens", actor: "anonymous" });
    clock.nowMs += 1000;
    await ca.operateAuthority({ action: "prepare" }, admin);
    const roots = (await store.authorities()).filter(({ type }) => type === "root");
    await ca.operateAuthority({ action: "activate", id: roots.at(-1)!.id, force: true }, admin);
    await ca.operateAuthority({ action: "taint", id: roots[0]!.id }, admin);
    clock.nowMs += 2 * dayMs;
    // Its own certificate; the issuer below it goes along.
    await ca.operateAuthority({ action: "revoke", id: roots[0]!.id }, admin);
    await ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId } }, { caller: admin });
    const { keyId } = await ca.issueJwtSvid({ audience: ["db"], spiffeId }, admin);
    await ca.operateAuthority({ action: "taint", id: keyId }, admin);
    await ca.operateAuthority({ action: "revoke", id: keyId }, admin);
    await ca.close();

    const types = new Set((await store.entries({ start: 0, limit: 1000 })).map(({ body }) => decodeEntry(body)?.type));
    expect([...types].sort()).toEqual([
      "authority.created", "authority.revoked", "authority.state-changed", "ca.initialized", "certificate.denied", "certificate.issued", "certificate.revoked",
      "jwt-svid.issued", "request.denied", "token.created", "token.deleted",
    ]);
    const verdict = await verifyLog({ store, verifierKey: ca.verifierKey });
    expect(verdict).toMatchObject({ ok: true, revocations: 3 });
  } finally {
    await close();
  }
});
