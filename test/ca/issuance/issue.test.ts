import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { unsealAuthority } from "../../../ca/authority/active-issuer.ts";
import { parseBundle } from "../../../ca/pki/bundle.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodeCsr } from "../../../ca/pki/csr.ts";
import { encodePem } from "../../../ca/pki/pem.ts";
import { validatePath } from "../../../ca/pki/path.ts";
import { verifySvid } from "../../../ca/pki/svid.ts";
import { loadSealing } from "../../../ca/signer/sealing.ts";
import { StoreError } from "../../../ca/store/errors.ts";
import type { Store } from "../../../ca/store/store.ts";
import { openssl, opensslAvailable } from "../../support/openssl.ts";
import { auditEvents, callerWith, chainOf, dayMs, newCsr, newKey, proofFor, startTestCa, type TestCa } from "../../support/running-ca.ts";

let host: TestCa;
let failNextCommit: ((store: Store, act: Parameters<Store["commit"]>[0]) => ReturnType<Store["commit"]>) | undefined;
beforeAll(async () => {
  host = await startTestCa({
    wrapStore: (store) => ({
      ...store,
      commit: (act) => {
        const fail = failNextCommit;
        if (fail === undefined || act.kind !== "issue") return store.commit(act);
        failNextCommit = undefined;
        return fail(store, act);
      },
    }),
  });
});
afterAll(() => host.close());

const cart = "spiffe://east/ns/shop/sa/cart";
const operator = { type: "operator", spiffeId: cart } as const;

describe("an issued certificate", () => {
  test("verifies in validatePath and as an SVID", async () => {
    const { ca, admin, clock } = host;
    const { csr } = newCsr();
    const issued = await ca.issue({ csr, attestation: { ...operator, dnsNames: ["cart.shop.svc"] } }, { caller: admin });
    const chain = chainOf(issued);
    const [leaf, issuer] = chain.map(parseCertificate);
    const bundle = parseBundle("east", ca.bundle().jwks);

    validatePath({ leaf: leaf!, intermediates: [issuer!], anchors: bundle.x509Authorities, nowMs: clock.nowMs });
    const svid = verifySvid({ chain, bundles: new Map([["east", bundle]]), nowMs: clock.nowMs, purpose: "server" });
    expect(svid.id.uri).toBe(cart);
    expect(leaf?.subjectAltName?.dnsNames).toEqual(["cart.shop.svc"]);
    expect(issued.bundles["east"]).toEqual(JSON.parse(ca.bundle().jwks));
    expect(issued.bundleSequence).toBe("1");
  });

  test.skipIf(!opensslAvailable)("verifies in openssl, strictly, for servers and clients", async () => {
    const { ca, admin } = host;
    const issued = await ca.issue({ csr: newCsr().csr, attestation: { ...operator, dnsNames: ["cart.shop.svc"] } }, { caller: admin });
    const [leafPem = "", issuerPem = ""] = issued.chain.split(/(?<=-----END CERTIFICATE-----\n)/);
    for (const purpose of ["sslserver", "sslclient"]) {
      const args = ["verify", "-x509_strict", "-CAfile", "root.pem", "-untrusted", "issuer.pem", "-purpose", purpose, "leaf.pem"];
      expect(openssl(args, { "root.pem": ca.bundle().pem, "issuer.pem": issuerPem, "leaf.pem": leafPem }).stdout).toContain("leaf.pem: OK");
    }
  });

  test("is stored and logged under the index it is answered with", async () => {
    const { ca, admin, store } = host;
    const issued = await ca.issue({ csr: newCsr().csr, attestation: operator }, { caller: admin });
    const row = await store.certificate(issued.serialNumber);
    expect(row).toMatchObject({ spiffeId: cart, attestation: "operator", logIndex: issued.logIndex });
    expect(Buffer.from(row!.certificate)).toEqual(Buffer.from(chainOf(issued)[0]!));
    expect((await auditEvents(store))[issued.logIndex]).toMatchObject({
      type: "certificate.issued", serialNumber: issued.serialNumber, actor: admin.actor, fingerprint: parseCertificate(chainOf(issued)[0]!).fingerprint,
    });
  });

  test("is valid for the lifetime asked for, notAfter inclusive, and backdated by the clock skew", async () => {
    const { ca, admin, clock } = host;
    const issued = await ca.issue({ csr: newCsr().csr, attestation: operator, lifetimeSeconds: 600 }, { caller: admin });
    const secondMs = Math.floor(clock.nowMs / 1000) * 1000;
    expect(Date.parse(issued.notBefore)).toBe(secondMs - 20_000);
    expect(Date.parse(issued.notAfter)).toBe(secondMs + 599_000);
  });

  test("takes nothing from the CSR but the key", async () => {
    const { ca, admin } = host;
    const der = encodeCsr({ privateKey: newKey(), uriSans: ["spiffe://east/ns/admin"], dnsSans: ["admin.example"] });
    const issued = await ca.issue({ csr: encodePem("CERTIFICATE REQUEST", der), attestation: operator }, { caller: admin });
    const leaf = parseCertificate(chainOf(issued)[0]!);
    expect(leaf.subjectAltName).toMatchObject({ uris: [cart], dnsNames: [] });
    expect(leaf.subjectEmpty).toBe(true);
  });
});

describe("a request is refused", () => {
  const refusals: readonly [claim: string, code: string, change: (base: { csr: string }) => { request: object; caller?: object }][] = [
    ["without an API token", "unauthenticated", (base) => ({ request: base, caller: undefined as never })],
    ["by an auditor", "forbidden", (base) => ({ request: base, caller: callerWith({ role: "auditor", scope: ["spiffe://east/*"] }) })],
    ["outside the operator's scope", "forbidden", (base) => ({ request: base, caller: callerWith({ scope: ["spiffe://east/ns/other/*"] }) })],
    ["with an empty scope", "forbidden", (base) => ({ request: base, caller: callerWith({ scope: [] }) })],
    ["for another trust domain", "forbidden", (base) => ({ request: { ...base, attestation: { type: "operator", spiffeId: "spiffe://west/a" } } })],
    ["for the trust domain itself", "forbidden", (base) => ({ request: { ...base, attestation: { type: "operator", spiffeId: "spiffe://east" } } })],
    ["for an ID that is none", "spiffe_id_refused", (base) => ({ request: { ...base, attestation: { type: "operator", spiffeId: "spiffe://east/a//b" } } })],
    ["for the CA's own ID", "spiffe_id_refused", (base) => ({ request: { ...base, attestation: { type: "operator", spiffeId: "spiffe://east/countersign/ca" } } })],
    ["for an ID below the CA's", "spiffe_id_refused", (base) => ({ request: { ...base, attestation: { type: "operator", spiffeId: "spiffe://east/countersign/x/y" } } })],
    ["for the CA's DNS name", "dns_name_refused", (base) => ({ request: { ...base, attestation: { ...operator, dnsNames: ["localhost"] } } })],
    ["for a wildcard", "dns_name_refused", (base) => ({ request: { ...base, attestation: { ...operator, dnsNames: ["*.shop.svc"] } } })],
    ["for longer than the maximum", "lifetime_refused", (base) => ({ request: { ...base, lifetimeSeconds: 86_401 } })],
    ["for no time at all", "lifetime_refused", (base) => ({ request: { ...base, lifetimeSeconds: 0 } })],
    ["for half a second", "lifetime_refused", (base) => ({ request: { ...base, lifetimeSeconds: 1.5 } })],
    ["with a CSR that is not base64", "csr_refused", () => ({ request: { csr: "%%%%" } })],
    ["with a CSR that is no CSR", "csr_refused", () => ({ request: { csr: "AAAA" } })],
    ["with a CSR signed by another key", "csr_refused", ({ csr }) => ({ request: { csr: forgeSignature(csr) } })],
  ];
  for (const [claim, code, change] of refusals) {
    test(claim, async () => {
      const { request, ...context } = change({ csr: newCsr().csr });
      const caller = "caller" in context ? context.caller : host.admin;
      await expect(host.ca.issue({ attestation: operator, ...request } as never, { caller } as never)).rejects.toMatchObject({ name: "Refusal", code });
    });
  }

  test("for a key it has certified before", async () => {
    const { ca, admin } = host;
    const key = newKey();
    await ca.issue({ csr: newCsr(key).csr, attestation: operator }, { caller: admin });
    await expect(ca.issue({ csr: newCsr(key).csr, attestation: operator }, { caller: admin })).rejects.toMatchObject({ code: "key_reused" });
  });

  test("for the key of one of the CA's authorities", async () => {
    const { ca, admin, store, dataDir } = host;
    const sealing = loadSealing({ sealingKey: undefined, sealingKeyPath: join(dataDir, "sealing.key") }, { create: false });
    for (const row of await store.authorities()) {
      const { csr } = newCsr(unsealAuthority(row, sealing).privateKey);
      await expect(ca.issue({ csr, attestation: operator }, { caller: admin })).rejects.toMatchObject({ code: "csr_refused" });
    }
  });

  test("and the denial is logged with its code and ID, and without the CSR", async () => {
    const { ca, store } = host;
    const { csr } = newCsr();
    const caller = callerWith({ actor: "token:2222222222222222", scope: [] });
    await expect(ca.issue({ csr, attestation: operator }, { caller })).rejects.toThrow();
    await expect.poll(async () => (await auditEvents(store)).at(-1)).toMatchObject({
      type: "certificate.denied", code: "forbidden", actor: "token:2222222222222222", spiffeId: cart, attestation: "operator",
    });
    expect(JSON.stringify(await auditEvents(store))).not.toContain(csr);
  });
});

describe("Idempotency-Key", () => {
  test("a retry gets the same certificate, and only one is issued", async () => {
    const { ca, admin } = host;
    const request = { csr: newCsr().csr, attestation: operator };
    const context = { caller: admin, idempotencyKey: "retry-1" };
    const first = await ca.issue(request, context);
    expect(await ca.issue(request, context)).toEqual(first);
  });

  test("is free again after 24 hours, to the millisecond, though the store still remembers it", async () => {
    const { ca, admin, clock } = host;
    const startedAtMs = clock.nowMs;
    const request = () => ca.issue({ csr: newCsr().csr, attestation: operator }, { caller: admin, idempotencyKey: "a-day" });
    try {
      const first = await request();
      clock.nowMs = startedAtMs + dayMs - 1;
      await expect(request()).rejects.toMatchObject({ code: "idempotency_key_reused" });
      clock.nowMs += 1;
      expect((await request()).serialNumber).not.toBe(first.serialNumber);
    } finally {
      clock.nowMs = startedAtMs;
    }
  });

  test("64 at once resolve to one certificate", async () => {
    const { ca, admin } = host;
    const request = { csr: newCsr().csr, attestation: operator };
    const all = await Promise.all(Array.from({ length: 64 }, () => ca.issue(request, { caller: admin, idempotencyKey: "at-once" })));
    expect(new Set(all.map(({ serialNumber }) => serialNumber)).size).toBe(1);
  });

  test("another request with the same key is refused", async () => {
    const { ca, admin } = host;
    const context = { caller: admin, idempotencyKey: "other" };
    await ca.issue({ csr: newCsr().csr, attestation: operator }, context);
    await expect(ca.issue({ csr: newCsr().csr, attestation: operator }, context)).rejects.toMatchObject({ code: "idempotency_key_reused" });
  });

  test("the same key of another caller is another key", async () => {
    const { ca, admin } = host;
    const request = { csr: newCsr().csr, attestation: operator };
    await ca.issue(request, { caller: admin, idempotencyKey: "mine" });
    const other = callerWith({ scope: ["spiffe://east/*"] });
    await expect(ca.issue(request, { caller: other, idempotencyKey: "mine" })).rejects.toMatchObject({ code: "key_reused" });
  });

  test("a join token redeemed by this very request is found again, with the secret", async () => {
    const { ca, admin } = host;
    const { token } = await ca.createToken({ type: "join", spiffeId: cart }, admin);
    const request = { csr: newCsr().csr, attestation: { type: "join-token", token } as const };
    const first = await ca.issue(request, { idempotencyKey: "join" });
    expect((await ca.issue(request, { idempotencyKey: "join" })).serialNumber).toBe(first.serialNumber);
    const wrong = { ...request, attestation: { type: "join-token", token: token.slice(0, -4) + "AAAA" } as const };
    await expect(ca.issue(wrong, { idempotencyKey: "join" })).rejects.toMatchObject({ code: "token_unknown" });
    await expect(ca.issue(request, {})).rejects.toMatchObject({ code: "token_already_redeemed" });
  });

  test("a renewal is found again although its proof is another one", async () => {
    const { ca, admin, clock } = host;
    const old = newCsr();
    const held = await ca.issue({ csr: old.csr, attestation: operator }, { caller: admin });
    const next = newCsr();
    const attempt = () => ca.issue(
      { csr: next.csr, attestation: { type: "svid", proof: proofFor(held, old.privateKey, next.der, (clock.nowMs += 1000)) } }, { idempotencyKey: "renew" },
    );
    expect((await attempt()).serialNumber).toBe((await attempt()).serialNumber);
  });

  test("what was revoked meanwhile is not given out again", async () => {
    const { ca, admin } = host;
    const request = { csr: newCsr().csr, attestation: operator };
    const { serialNumber } = await ca.issue(request, { caller: admin, idempotencyKey: "revoked" });
    await ca.revoke(serialNumber, "keyCompromise", admin);
    await expect(ca.issue(request, { caller: admin, idempotencyKey: "revoked" })).rejects.toMatchObject({ code: "certificate_revoked" });
  });

  test("an answer lost after the commit is found by the retry; a commit that failed before leaves nothing", async () => {
    const { ca, admin, store } = host;
    const request = { csr: newCsr().csr, attestation: operator };
    failNextCommit = () => Promise.reject(new StoreError("store_unavailable", "lost before"));
    await expect(ca.issue(request, { caller: admin, idempotencyKey: "lost" })).rejects.toMatchObject({ code: "store_unavailable" });
    failNextCommit = async (inner, act) => {
      await inner.commit(act);
      throw new StoreError("store_unavailable", "lost after", { outcomeKnown: false });
    };
    await expect(ca.issue(request, { caller: admin, idempotencyKey: "lost" })).rejects.toMatchObject({ code: "store_unavailable" });
    const found = await ca.issue(request, { caller: admin, idempotencyKey: "lost" });
    expect((await store.certificate(found.serialNumber))?.spiffeId).toBe(cart);
  });
});

test.each(["P-384", "ed25519", "rsa"] as const)("a %s key is certified", async (kind) => {
  const { privateKey } = kind === "rsa" ? generateKeyPairSync("rsa", { modulusLength: 2048 })
    : kind === "ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("ec", { namedCurve: kind });
  const issued = await host.ca.issue({ csr: newCsr(createPrivateKey(privateKey.export({ format: "pem", type: "pkcs8" }))).csr, attestation: operator }, { caller: host.admin });
  expect(issued.spiffeId).toBe(cart);
});

/** Breaks the CSR's signature by giving it the one of another request. */
function forgeSignature(csr: string): string {
  const [one, other] = [Buffer.from(csr, "base64"), Buffer.from(newCsr().csr, "base64")];
  const tail = 64;
  return Buffer.concat([one.subarray(0, -tail), other.subarray(-tail)]).toString("base64");
}
