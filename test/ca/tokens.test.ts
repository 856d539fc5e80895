import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseBootstrap } from "../../ca/pki/bootstrap.ts";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { decodePem } from "../../ca/pki/pem.ts";
import type { CreateTokenRequest } from "../../ca/contract/tokens.ts";
import type { Caller } from "../../ca/http/services.ts";
import type { Store } from "../../ca/store/store.ts";
import { auditEvents, callerWith, hourMs, newCsr, startTestCa, type TestCa } from "../support/running-ca.ts";

let host: TestCa;
let tokenReads = 0;
let beforeTokenRead: (() => Promise<void>) | undefined;
beforeAll(async () => {
  host = await startTestCa({
    wrapStore: (store: Store) => ({
      ...store,
      token: async (id) => {
        tokenReads += 1;
        const row = await store.token(id);
        await beforeTokenRead?.();
        return row;
      },
    }),
  });
});
afterAll(() => host.close());

const shop = "spiffe://east/ns/shop/*";
const api = (overrides: Partial<Extract<CreateTokenRequest, { type: "api" }>> = {}) =>
  host.ca.createToken({ type: "api", name: "ci", role: "operator", scope: [shop], ...overrides }, host.admin);

describe("an API token", () => {
  test("authenticates its holder with role and scope", async () => {
    const { id, token } = await api();
    expect(await host.ca.authenticate(token)).toEqual({ actor: `token:${id}`, name: "ci", role: "operator", scope: [shop] });
  });

  test("of an admin is for the whole trust domain", async () => {
    const { token } = await api({ role: "admin", scope: [] });
    expect((await host.ca.authenticate(token))?.scope).toEqual(["spiffe://east/*"]);
  });

  test("authenticates nobody with a wrong secret, remembered or not", async () => {
    const { token } = await api();
    const wrong = token.slice(0, -3) + (token.endsWith("AAA") ? "BBB" : "AAA");
    expect(await host.ca.authenticate(wrong)).toBeUndefined();
    expect(await host.ca.authenticate(token)).toBeDefined();
    expect(await host.ca.authenticate(wrong)).toBeUndefined();
  });

  test.each(["", "hunter2", "csapi_0123456789abcdef_", "csapi_0123456789abcdef_" + "A".repeat(43), "csjoin_0123456789abcdef_" + "A".repeat(43), "x".repeat(5000)])(
    "that is %j authenticates nobody", async (text) => {
      expect(await host.ca.authenticate(text)).toBeUndefined();
    },
  );

  test("is not a join token's string", async () => {
    const join = await host.ca.createToken({ type: "join", spiffeId: "spiffe://east/a" }, host.admin);
    expect(await host.ca.authenticate(join.token)).toBeUndefined();
    expect(await host.ca.authenticate(join.token.replace("csjoin_", "csapi_"))).toBeUndefined();
  });

  test("is read from the store once in a while, not for each request", async () => {
    const { token } = await api();
    const before = tokenReads;
    for (let count = 0; count < 10; count++) await host.ca.authenticate(token);
    expect(tokenReads - before).toBe(1);
    host.clock.nowMs += 5000;
    await host.ca.authenticate(token);
    expect(tokenReads - before).toBe(2);
  });

  test("expires to the millisecond, remembered or not", async () => {
    const { token } = await api({ expiresInSeconds: 2 });
    await host.ca.authenticate(token);
    host.clock.nowMs += 1999;
    expect(await host.ca.authenticate(token)).toBeDefined();
    host.clock.nowMs += 1;
    expect(await host.ca.authenticate(token)).toBeUndefined();
  });

  test("shows when it was last used, by its secret and not by its ID alone", async () => {
    const { id, token } = await api();
    const lastUsed = async () => (await host.store.token(id))?.lastUsedAtMs;
    await host.ca.authenticate(token.slice(0, -3) + (token.endsWith("AAA") ? "BBB" : "AAA"));
    await host.store.commit({ kind: "record", entries: ["{}"] });
    expect(await lastUsed()).toBeUndefined();
    await host.ca.authenticate(token);
    await expect.poll(lastUsed).toBe(host.clock.nowMs);
  });

  test("ends at once when it is deleted, although it was remembered", async () => {
    const { id, token } = await api();
    await host.ca.authenticate(token);
    await host.ca.deleteToken(id, host.admin);
    expect(await host.ca.authenticate(token)).toBeUndefined();
  });

  test("that is deleted while it is being read is not remembered", async () => {
    const { id, token } = await api();
    beforeTokenRead = () => {
      beforeTokenRead = undefined;
      return host.ca.deleteToken(id, host.admin);
    };
    await host.ca.authenticate(token);
    expect(await host.ca.authenticate(token)).toBeUndefined();
  });

  test("deleted in the store by another replica ends after five seconds", async () => {
    const { id, token } = await api();
    await host.ca.authenticate(token);
    await host.store.commit({ kind: "delete-token", tokenId: id, deletedAtMs: host.clock.nowMs, entries: ["{}"] });
    host.clock.nowMs += 5000;
    expect(await host.ca.authenticate(token)).toBeUndefined();
  });
});

describe("a join token", () => {
  test("comes with a bootstrap string that names this CA and its root", async () => {
    const created = await host.ca.createToken({ type: "join", spiffeId: "spiffe://east/ns/shop/sa/cart" }, host.admin);
    const root = parseCertificate(decodePem(host.ca.bundle().pem, "CERTIFICATE")[0]!);
    expect(parseBootstrap(created.bootstrap!)).toEqual({
      caUrl: "https://127.0.0.1:8443", token: created.token, rootFingerprint: root.fingerprint, trustDomain: "east",
    });
  });

  test("waits an hour when nobody says, and as long as asked for otherwise", async () => {
    const expiry = async (more: object) => Date.parse((await host.ca.createToken({ type: "join", spiffeId: "spiffe://east/a", ...more }, host.admin)).expiresAt!);
    expect(await expiry({})).toBe(host.clock.nowMs + hourMs);
    expect(await expiry({ expiresInSeconds: 60 })).toBe(host.clock.nowMs + 60_000);
  });

  test("is made by an operator within its scope", async () => {
    const operator = callerWith({ scope: [shop] });
    const created = await host.ca.createToken({ type: "join", spiffeId: "spiffe://east/ns/shop/sa/cart" }, operator);
    expect(created.createdBy).toBe(operator.actor);
    await host.ca.deleteToken(created.id, operator);
    await expect(host.ca.deleteToken(created.id, operator)).rejects.toMatchObject({ code: "not_found" });
  });
});

describe("a DNS name", () => {
  const scope = [shop, "dns:*.shop.svc", "dns:cart.example"];
  const granted = ["cart.shop.svc", "a.b.shop.svc", "cart.example"];
  const refused = ["shop.svc", "xshop.svc", "cart.shop.svc.cluster", "payments.bank.svc", "x.cart.example", "example"];
  const cart = "spiffe://east/ns/shop/sa/cart";
  async function operatorOf(patterns: readonly string[]) {
    return (await host.ca.authenticate((await api({ scope: patterns })).token))!;
  }
  const asJoinToken = (dnsNames: readonly string[], caller: Caller) => host.ca.createToken({ type: "join", spiffeId: cart, dnsNames }, caller);
  const asCertificate = (dnsNames: readonly string[], caller: Caller) =>
    host.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: cart, dnsNames } }, { caller });

  test.each([["a join token", asJoinToken], ["a certificate", asCertificate]])("in %s is an operator's to give only where its scope lists it", async (_where, give) => {
    const operator = await operatorOf(scope);
    await give(granted, operator);
    for (const name of refused) await expect(give(["cart.shop.svc", name], operator)).rejects.toMatchObject({ code: "forbidden", message: expect.stringContaining(`"${name}"`) });
    await expect(give(["cart.shop.svc"], await operatorOf([shop]))).rejects.toMatchObject({ code: "forbidden" });
    await give(["payments.bank.svc"], host.admin);
  });

  test("in a scope gives no ID", async () => {
    await expect(asJoinToken([], await operatorOf(["dns:*.shop.svc"]))).rejects.toMatchObject({ code: "forbidden" });
    expect((await operatorOf(scope)).scope).toEqual([shop]);
  });

  test("that an admin gave is no reason to keep an operator from deleting the token", async () => {
    const operator = await operatorOf([shop]);
    const { id } = await asJoinToken(["payments.bank.svc"], host.admin);
    await host.ca.deleteToken(id, operator);
  });
});

describe("is refused", () => {
  const join = (spiffeId: string, dnsNames: readonly string[] = []): CreateTokenRequest => ({ type: "join", spiffeId, dnsNames });
  const apiRequest = (overrides: object): CreateTokenRequest => ({ type: "api", name: "x", role: "operator", ...overrides }) as CreateTokenRequest;
  const operator = callerWith({ scope: [shop] });
  const auditor = callerWith({ role: "auditor", scope: ["spiffe://east/*"] });
  const cases: readonly (readonly [claim: string, request: CreateTokenRequest, caller: typeof operator | undefined, code: string])[] = [
    ["a join token outside the operator's scope", join("spiffe://east/ns/bank/sa/vault"), operator, "forbidden"],
    ["a join token by an auditor", join("spiffe://east/ns/shop/sa/cart"), auditor, "forbidden"],
    ["a join token for another trust domain", join("spiffe://west/a"), undefined, "forbidden"],
    ["a join token for the CA's own ID", join("spiffe://east/countersign/ca"), undefined, "spiffe_id_refused"],
    ["a join token with the CA's DNS name", join("spiffe://east/a", ["localhost"]), undefined, "dns_name_refused"],
    ["a join token for no ID", join("cart"), undefined, "spiffe_id_refused"],
    ["an API token by an operator", apiRequest({}), operator, "forbidden"],
    ["an API token by an auditor", apiRequest({}), auditor, "forbidden"],
    ["an API token with a scope of another trust domain", apiRequest({ scope: ["spiffe://west/*"] }), undefined, "spiffe_id_refused"],
    ["an auditor with a scope, which would promise what does not hold", apiRequest({ role: "auditor", scope: [shop] }), undefined, "invalid_request"],
    ["an API token with a scope that is none", apiRequest({ scope: ["spiffe://east/*/x"] }), undefined, "spiffe_id_refused"],
    ...["dns:", "dns:*", "dns:*.", "dns:a.*.svc", "dns:*shop.svc", "dns:Shop.svc", "dns:shop.svc.", "dns:*.*.svc"].map((pattern) => (
      [`an API token with the scope ${pattern}`, apiRequest({ scope: [pattern] }), undefined, "dns_name_refused"] as const
    )),
    ["an API token with a name of control characters", apiRequest({ name: "a\nb" }), undefined, "invalid_request"],
    ["a token for no time", apiRequest({ expiresInSeconds: 0 }), undefined, "invalid_request"],
  ];
  for (const [claim, request, caller, code] of cases) {
    test(claim, async () => {
      await expect(host.ca.createToken(request, caller ?? host.admin)).rejects.toMatchObject({ name: "Refusal", code });
    });
  }

  test("deleting an API token by an operator, and a join token outside its scope", async () => {
    const { id } = await api();
    await expect(host.ca.deleteToken(id, operator)).rejects.toMatchObject({ code: "forbidden" });
    const foreign = await host.ca.createToken(join("spiffe://east/ns/bank/sa/vault"), host.admin);
    await expect(host.ca.deleteToken(foreign.id, operator)).rejects.toMatchObject({ code: "forbidden" });
    await expect(host.ca.deleteToken("ffffffffffffffff", host.admin)).rejects.toMatchObject({ code: "not_found" });
  });
});

test("no secret is stored or logged, and each act has its entry", async () => {
  const { id, token } = await api();
  await host.ca.deleteToken(id, host.admin);
  const events = await auditEvents(host.store);
  expect(events.at(-2)).toMatchObject({ type: "token.created", tokenId: id, tokenType: "api", role: "operator", scope: [shop] });
  expect(events.at(-1)).toMatchObject({ type: "token.deleted", tokenId: id });
  const secret = token.slice(-43);
  expect(JSON.stringify(events)).not.toContain(secret);
  expect(JSON.stringify(await host.store.token(id))).not.toContain(secret);
});
