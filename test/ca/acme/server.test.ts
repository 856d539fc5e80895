import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodeCsr } from "../../../ca/pki/csr.ts";
import { decodePem } from "../../../ca/pki/pem.ts";
import { acmeClient, bindingFor, jwkOf, newKey, type AcmeClient, type AcmeReply } from "../../support/acme-client.ts";
import { startDnsServer, type DnsServer } from "../../support/dns-server.ts";
import { auditEvents, newCsr, proofFor, startTestCa, type TestCa } from "../../support/running-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-acme-"));
const accountsFile = join(folder, "accounts.json");
const secret = Buffer.from("a secret of sixteen bytes or more").toString("base64url");
const publicUrl = "https://ca.example:8443";
const team = { kid: "team", key: secret, url: `${publicUrl}/acme/new-account` };
const pages = new Map<string, string>();
let dns: DnsServer;
let web: Server;
let host: TestCa;
beforeAll(async () => {
  dns = await startDnsServer();
  web = createServer(({ url = "", headers }, response) => {
    const page = pages.get(`${headers.host}${url}`);
    if (page?.startsWith("302 ") === true) return void response.writeHead(302, { location: page.slice(4) }).end();
    response.writeHead(page === undefined ? 404 : 200).end(page);
  }).listen(0, "127.0.0.1");
  await once(web, "listening");
  writeFileSync(accountsFile, JSON.stringify({ team: { key: secret, names: ["*.shop.internal"] }, other: { key: Buffer.alloc(32, 7).toString("base64url") } }), { mode: 0o600 });
  host = await startTestCa({
    settings: {
      publicUrl, anonymousRate: "1000", workloadRate: "1000",
      acme: { names: ["*.internal"], externalAccountsFile: accountsFile, resolver: dns.address, reach: ["127.0.0.0/24"], httpPort: (web.address() as AddressInfo).port },
    } as unknown as Record<string, string>,
  });
  for (const name of ["web", "api"]) dns.addresses.set(`${name}.shop.internal`, "127.0.0.1");
  dns.addresses.set("inside.shop.internal", "127.0.1.1");
  dns.addresses.set("metadata.shop.internal", "169.254.169.254");
});
afterAll(async () => {
  await host.close();
  dns.close();
  web.closeAllConnections();
  web.close();
  rmSync(folder, { recursive: true, force: true });
});

async function member(): Promise<AcmeClient> {
  const client = acmeClient(host.ca, publicUrl);
  await client.register({ externalAccountBinding: await bindingFor(client.jwk, team) });
  expect(client.account).toContain("/acme/account/");
  return client;
}
const problem = (type: string, status?: number) => expect.objectContaining({ ...(status !== undefined && { status }), body: expect.objectContaining({ type: `urn:ietf:params:acme:error:${type}` }) as object }) as AcmeReply;
const order = (client: AcmeClient, ...names: readonly string[]) => client.post("new-order", { identifiers: names.map((value) => ({ type: "dns", value })) });

async function challengeOf(client: AcmeClient, ordered: AcmeReply, type = "http-01") {
  const authorization = await client.post((ordered.body["authorizations"] as unknown as string[])[0]!, "");
  return { ordered, token: (authorization.body["challenges"] as unknown as { type: string; token: string; url: string }[]).find((one) => one.type === type)! };
}

interface Proved {
  readonly order: AcmeReply;
  readonly challenge: AcmeReply;
}
/** Orders, puts the proof for the first name where `type` wants it, and says so. */
async function prove(client: AcmeClient, name: string, type = "http-01", proof?: string): Promise<Proved> {
  const { ordered, token: { token, url } } = await challengeOf(client, await order(client, name), type);
  const keyAuthorization = proof ?? `${token}.${await client.thumbprint()}`;
  pages.set(`${name}/.well-known/acme-challenge/${token}`, keyAuthorization);
  dns.texts = () => [createHash("sha256").update(keyAuthorization).digest("base64url")];
  return { order: ordered, challenge: await client.post(url, {}) };
}
/** A JWS's header with another algorithm than it was signed by. */
const relabelled = (jws: Readonly<Record<string, unknown>>, alg: string): string => (
  Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(String(jws["protected"]), "base64url").toString("utf8")) as object, alg })).toString("base64url")
);
const csrFor = (names: readonly string[], key = newKey()): string => Buffer.from(encodeCsr({ privateKey: key, dnsSans: names })).toString("base64url");
async function certify(client: AcmeClient, name: string, type?: string, key = newKey()) {
  const { order: ordered } = await prove(client, name, type);
  const done = await client.post(String(ordered.body["finalize"]), { csr: csrFor([name], key) });
  const { text } = await client.post(String(done.body["certificate"]), "");
  const chain = decodePem(text, "CERTIFICATE");
  return { done, chain, leaf: parseCertificate(chain[0]!), key, text };
}

describe("an account", () => {
  test("is for who has an external account, and is the same for the same key", async () => {
    const client = await member();
    const again = await client.post("new-account", { onlyReturnExisting: true }, { byKey: true });
    expect(again).toMatchObject({ status: 200, headers: { location: client.account } });
    expect((await auditEvents(host.store)).length).toBeGreaterThan(0);
  });

  test("is nobody's without its binding, or with one that is not by the key, for this key, or for this URL", async () => {
    const client = acmeClient(host.ca, publicUrl);
    expect(await client.register()).toEqual(problem("externalAccountRequired"));
    expect(await client.register({ onlyReturnExisting: true })).toEqual(problem("accountDoesNotExist"));
    const faults = [
      { ...team, kid: "nobody" }, { ...team, key: Buffer.alloc(32, 1).toString("base64url") }, { ...team, kid: "other" }, { ...team, url: `${publicUrl}/acme/new-order` },
      // What an unknown one is verified with must not be good for anything.
      { ...team, kid: "nobody", key: Buffer.alloc(32).toString("base64url") },
    ];
    for (const fault of faults) expect(await client.register({ externalAccountBinding: await bindingFor(client.jwk, fault) })).toEqual(problem("unauthorized", 403));
    expect(await client.register({ externalAccountBinding: await bindingFor(jwkOf(newKey()), team) })).toEqual(problem("unauthorized"));
    expect(await client.register({ externalAccountBinding: { protected: Buffer.from('{"alg":"none","kid":"team"}').toString("base64url"), payload: "", signature: "" } })).toEqual(problem("malformed"));
  });

  test("has mail addresses for contacts, and can be deactivated for good", async () => {
    const client = await member();
    expect(await client.post(client.account, { contact: ["tel:1"] })).toEqual(problem("unsupportedContact"));
    expect(await client.post(client.account, { contact: ["mailto:a@b.example?subject=x"] })).toEqual(problem("invalidContact"));
    expect((await client.post(client.account, { contact: ["mailto:a@b.example"] })).body["contact"]).toEqual(["mailto:a@b.example"]);
    expect((await client.post(client.account, { status: "deactivated" })).status).toBe(200);
    expect(await order(client, "web.shop.internal")).toEqual(problem("unauthorized"));
    expect(await client.post("new-account", {}, { byKey: true })).toEqual(problem("unauthorized"));
  });

  test("changes its key: the new one speaks for it, the old one for nobody, and no other account's is taken", async () => {
    const [client, other] = [await member(), await member()];
    const next = newKey();
    const inner = async (key: typeof next, payload: object) => JSON.parse(await client.sign(client.url("key-change"), payload, { key, byKey: true, header: { nonce: undefined } })) as object;
    const good = { account: client.account, oldKey: client.jwk };
    expect(await client.post("key-change", await inner(next, { ...good, account: other.account }))).toEqual(problem("malformed"));
    expect(await client.post("key-change", await inner(next, { ...good, oldKey: other.jwk }))).toEqual(problem("malformed"));
    expect(await client.post("key-change", await inner(other.key, good))).toMatchObject({ status: 409, headers: { location: other.account } });
    expect((await client.post("key-change", await inner(next, good))).status).toBe(200);
    expect(await order(client, "web.shop.internal")).toEqual(problem("unauthorized"));
    expect(await client.post("new-account", {}, { byKey: true })).toEqual(problem("unauthorized"));
    expect((await client.post(client.account, "", { key: next })).status).toBe(200);
  });
});

test("a name that is not proved is told in the vitals and counted, until it is", async () => {
  const client = await member();
  const counted = async (result: string): Promise<number> => (
    (await host.ca.metrics.registry.getSingleMetric("countersign_acme_challenges_total")!.get()).values.find(({ labels }) => labels["challenge"] === "http-01" && labels["result"] === result)?.value ?? 0
  );
  const before = await counted("failed");
  await prove(client, "api.shop.internal", "http-01", "something else");
  const { acme } = await host.ca.vitals();
  expect(acme).toEqual({ failures: [expect.objectContaining({ name: "api.shop.internal", challenge: "http-01", why: expect.stringContaining("something else than the key authorization") as string })] });
  expect(await counted("failed")).toBe(before + 1);
  await prove(client, "api.shop.internal");
  expect((await host.ca.vitals()).acme?.failures).toEqual([]);
});

describe("a request", () => {
  test("is good once, with a nonce of this CA, and its refusal brings a fresh one", async () => {
    const client = await member();
    const body = await client.sign(client.account, "");
    expect((await client.send(client.account, body)).status).toBe(200);
    const replayed = await client.send(client.account, body);
    expect(replayed).toEqual(problem("badNonce", 400));
    expect((await client.post(client.account, "", { nonce: replayed.headers["replay-nonce"]! })).status).toBe(200);
    for (const nonce of ["made-up", Buffer.alloc(34).toString("base64url"), `${await client.nonce()}=`]) expect(await client.post(client.account, "", { nonce })).toEqual(problem("badNonce"));
    const old = await client.nonce();
    host.clock.nowMs += 3_600_001;
    expect(await client.post(client.account, "", { nonce: old })).toEqual(problem("badNonce"));
  });

  test("is refused when it was signed for another URL, by another key, or not at all", async () => {
    const [client, other] = [await member(), await member()];
    expect(await client.post(client.account, "", { header: { url: client.url("new-order") } })).toEqual(problem("unauthorized"));
    expect(await client.post(client.account, "", { key: other.key })).toEqual(problem("unauthorized"));
    expect(await client.post(client.account, "", { tamper: (jws) => ({ ...jws, payload: Buffer.from('{"status":"deactivated"}').toString("base64url") }) })).toEqual(problem("unauthorized"));
    expect(await client.post(client.account, "", { tamper: (jws) => ({ ...jws, signature: "" }) })).toEqual(problem("unauthorized"));
    expect(await client.post(client.account, "", { header: { kid: client.account.replace("ca.example", "evil.example") } })).toEqual(problem("accountDoesNotExist"));
  });

  test.each([["none"], ["HS256"], ["HS512"]])("with the algorithm %s is told which there are", async (alg) => {
    const client = await member();
    const forged = (jws: Record<string, unknown>): object => ({ ...jws, protected: Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(String(jws["protected"]), "base64url").toString()) as object, alg })).toString("base64url") });
    const refused = await client.post(client.account, "", { tamper: forged });
    expect(refused).toEqual(problem("badSignatureAlgorithm", 400));
    expect(refused.body["algorithms"]).toContain("ES256");
  });

  test("has one form and one kind of key", async () => {
    const client = await member();
    expect(await client.post(client.account, "", { contentType: "application/json" })).toEqual(problem("malformed", 415));
    expect(await client.post(client.account, "", { header: { jwk: client.jwk } })).toEqual(problem("malformed"));
    expect(await client.post("new-order", {}, { byKey: true })).toEqual(problem("malformed"));
    expect(await client.post("new-account", {}, { byKey: false })).toEqual(problem("malformed"));
    expect(await client.post(client.account, "", { tamper: (jws) => ({ ...jws, header: { kid: "x" } }) })).toEqual(problem("malformed"));
    expect(await client.post("new-account", {}, { byKey: true, header: { jwk: { kty: "oct", k: "eA" } } })).toEqual(problem("badPublicKey"));
    expect(await client.get("new-order")).toEqual(problem("malformed", 405));
    expect(await client.get("__proto__")).toEqual(problem("malformed", 404));
    expect(await client.post("constructor", "")).toEqual(problem("malformed", 404));
    expect((await client.get("new-nonce", "HEAD")).status).toBe(200);
    expect((await client.get("directory")).body["newOrder"]).toBe(client.url("new-order"));
  });
});

describe("a stranger", () => {
  test("has no signature verified by a key so large that this takes long", async () => {
    const numberOf = (octets: number): string => Buffer.alloc(octets, 0xff).toString("base64url");
    const bring = (n: string, e: string) => {
      const client = acmeClient(host.ca, publicUrl);
      return client.post("new-account", {}, { byKey: true, header: { alg: "ES256", jwk: { kty: "RSA", n, e } }, tamper: (jws) => ({ ...jws, protected: relabelled(jws, "RS256"), signature: numberOf(256) }) });
    };
    for (const [n, e] of [[numberOf(384), numberOf(384)], [numberOf(513), "AQAB"], [numberOf(256), numberOf(5)]] as const) expect(await bring(n, e)).toEqual(problem("badPublicKey", 400));
    // The zero in front that some clients write.
    expect(await bring(Buffer.concat([Buffer.alloc(1), Buffer.alloc(512, 0xff)]).toString("base64url"), "AQAB")).toEqual(problem("unauthorized", 403));
  });

  test("that asks too often, also with signatures of nobody's, keeps no other address from ACME, and no account", async () => {
    const few = await startTestCa({ settings: { publicUrl, anonymousRate: "8", acme: { names: ["*.internal"], open: true } } as unknown as Record<string, string> });
    try {
      const [account, one, other] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map((address) => acmeClient(few.ca, publicUrl, newKey(), address)) as [AcmeClient, AcmeClient, AcmeClient];
      await account.register();
      const nonce = await account.nonce();
      const forged = (client: AcmeClient): Promise<AcmeReply> => client.register({}, { nonce, tamper: (jws) => ({ ...jws, signature: "AAAA" }) });
      for (let count = 0; count < 20; count++) expect(await forged(one)).toEqual(problem("unauthorized", 403));
      const refused = await forged(one);
      expect([refused.status, refused.headers["retry-after"]]).toEqual([429, "1"]);
      expect((await one.get("directory")).status).toBe(429);
      expect((await other.register()).status).toBe(201);
      expect((await account.post(account.account, "", { nonce: refused.headers["replay-nonce"]! })).status).toBe(200);
      // In the name of an account it is the stranger's share that is taken.
      one.account = account.account;
      for (let count = 0; count < 3; count++) expect((await one.post(account.account, "", { nonce, byKey: false })).status).toBe(429);
    } finally {
      await few.close();
    }
  });
});

test("accounts that anybody may open are few for one address; those that were opened are found again", async () => {
  const open = await startTestCa({ settings: { publicUrl, anonymousRate: "10000", acme: { names: ["*.internal"], open: true } } as unknown as Record<string, string> });
  try {
    const first = acmeClient(open.ca, publicUrl);
    await first.register();
    while (open.ca.limits.opening("192.0.2.1") === undefined);
    expect(await acmeClient(open.ca, publicUrl).register()).toEqual(problem("rateLimited", 429));
    expect((await first.post("new-account", {}, { byKey: true })).headers["location"]).toBe(first.account);
    expect((await acmeClient(open.ca, publicUrl, newKey(), "192.0.2.2").register()).status).toBe(201);
    expect((await first.post("new-order", { identifiers: [{ type: "dns", value: "a.internal" }] })).status).toBe(201);
  } finally {
    await open.close();
  }
});

describe("an order", () => {
  test("that is proved gives an SVID with its DNS name first, on record with who had it", async () => {
    for (const type of ["http-01", "dns-01"]) {
      const client = await member();
      const { leaf, done } = await certify(client, "web.shop.internal", type);
      expect(done.body).toMatchObject({ status: "valid" });
      expect(leaf.subjectAltName).toMatchObject({ dnsNames: ["web.shop.internal"], uris: ["spiffe://east/acme/web.shop.internal"] });
      expect((await auditEvents(host.store)).at(-1)).toMatchObject({ attestation: "acme", profile: "acme", evidence: { externalAccount: "team" }, actor: expect.stringMatching(/^acme:/) as string });
    }
  });

  test.each(["web.shop.example", "web.bank.internal", "*.shop.internal", "ca.example", "127.0.0.1", "web.shop.internal.", "-.shop.internal", "a_b.shop.internal"])("for %s is refused", async (name) => {
    expect(await order(await member(), name)).toEqual(problem("rejectedIdentifier"));
  });

  test("is for DNS names, some of them, for as long as this CA says", async () => {
    const client = await member();
    expect(await client.post("new-order", { identifiers: [{ type: "ip", value: "10.0.0.1" }] })).toEqual(problem("unsupportedIdentifier"));
    expect(await order(client)).toEqual(problem("malformed"));
    expect(await order(client, ...Array.from({ length: 17 }, (_, index) => `n${index}.shop.internal`))).toEqual(problem("malformed"));
    expect(await client.post("new-order", { identifiers: [{ type: "dns", value: "web.shop.internal" }], notAfter: "2046-01-01T00:00:00Z" })).toEqual(problem("malformed"));
  });

  test("is its account's alone", async () => {
    const [client, other] = [await member(), await member()];
    const { order: mine } = await prove(client, "web.shop.internal");
    for (const url of [mine.headers["location"]!, (mine.body["authorizations"] as unknown as string[])[0]!]) expect(await other.post(url, "")).toEqual(problem("malformed", 404));
    expect(await other.post(String(mine.body["finalize"]), { csr: csrFor(["web.shop.internal"]) })).toEqual(problem("malformed", 404));
    expect(await other.post(client.account, "")).toEqual(problem("unauthorized"));
  });

  test("that is not proved is not finalized, and a wrong proof ends it", async () => {
    const client = await member();
    const ordered = await order(client, "web.shop.internal");
    expect(await client.post(String(ordered.body["finalize"]), { csr: csrFor(["web.shop.internal"]) })).toEqual(problem("orderNotReady", 403));
    const { order: wrong, challenge } = await prove(client, "web.shop.internal", "http-01", "somebody else's");
    expect(challenge.body).toMatchObject({ status: "invalid", error: { type: "urn:ietf:params:acme:error:incorrectResponse" } });
    expect((await client.post(wrong.headers["location"]!, "")).body["status"]).toBe("invalid");
    expect((await prove(client, "web.shop.internal", "dns-01", "x")).challenge.body).toMatchObject({ status: "invalid", error: { type: "urn:ietf:params:acme:error:incorrectResponse" } });
    dns.texts = () => [];
  });

  test("is proved by the key of its account: another account's proof is none", async () => {
    const [client, other] = [await member(), await member()];
    const { token: { token, url } } = await challengeOf(client, await order(client, "web.shop.internal"));
    pages.set(`web.shop.internal/.well-known/acme-challenge/${token}`, `${token}.${await other.thumbprint()}`);
    expect((await client.post(url, {})).body["status"]).toBe("invalid");
  });

  test("sends the CA nowhere inside, and after no redirection", async () => {
    const client = await member();
    for (const name of ["inside.shop.internal", "metadata.shop.internal"]) {
      expect((await prove(client, name)).challenge.body).toMatchObject({ status: "invalid", error: { type: "urn:ietf:params:acme:error:dns", detail: expect.stringContaining("does not ask") as string } });
    }
    expect((await prove(client, "web.shop.internal", "http-01", "302 http://127.0.0.1/admin")).challenge.body).toMatchObject({ status: "invalid", error: { detail: expect.stringContaining("answered 302") as string } });
  });

  test.each<[string, (client: AcmeClient) => string]>([
    ["for another name", () => csrFor(["api.shop.internal"])],
    ["for one name more", () => csrFor(["web.shop.internal", "api.shop.internal"])],
    ["for no name", () => csrFor([])],
    ["for a URI", () => Buffer.from(encodeCsr({ privateKey: newKey(), dnsSans: ["web.shop.internal"], uriSans: ["spiffe://east/admin"] })).toString("base64url")],
    ["by the account's key", (client) => csrFor(["web.shop.internal"], client.key)],
    ["that is none", () => "aHVudGVyMg"],
  ])("with a CSR %s is refused, and still ready", async (_claim, make) => {
    const client = await member();
    const { order: ordered } = await prove(client, "web.shop.internal");
    expect(await client.post(String(ordered.body["finalize"]), { csr: make(client) })).toEqual(problem("badCSR"));
    expect((await client.post(ordered.headers["location"]!, "")).body["status"]).toBe("ready");
  });

  test("that is finalized many times at once gives one certificate, and a key is certified once", async () => {
    const client = await member();
    const { order: ordered } = await prove(client, "web.shop.internal");
    const before = (await auditEvents(host.store)).filter(({ type }) => type === "certificate.issued").length;
    const key = newKey();
    await Promise.all(Array.from({ length: 6 }, () => client.post(String(ordered.body["finalize"]), { csr: csrFor(["web.shop.internal"], key) })));
    expect((await client.post(ordered.headers["location"]!, "")).body["status"]).toBe("valid");
    expect((await auditEvents(host.store)).filter(({ type }) => type === "certificate.issued").length).toBe(before + 1);
    const { order: next } = await prove(client, "web.shop.internal");
    expect(await client.post(String(next.body["finalize"]), { csr: csrFor(["web.shop.internal"], key) })).toEqual(problem("badCSR"));
  });

  test("gives nothing once its external account is gone", async () => {
    const client = await member();
    const { order: ordered } = await prove(client, "web.shop.internal");
    writeFileSync(accountsFile, JSON.stringify({ other: { key: secret } }));
    expect(await client.post(String(ordered.body["finalize"]), { csr: csrFor(["web.shop.internal"]) })).toEqual(problem("unauthorized"));
    expect(await order(client, "web.shop.internal")).toEqual(problem("unauthorized"));
    writeFileSync(accountsFile, JSON.stringify({ team: { key: secret, names: ["*.shop.internal"] } }));
  });
});

describe("a certificate by ACME", () => {
  test("does not renew itself: its names are proved again", async () => {
    const { text, key } = await certify(await member(), "web.shop.internal");
    const next = newCsr();
    await expect(host.ca.issue({ csr: next.csr, attestation: { type: "svid", proof: proofFor({ chain: text }, key, next.der, host.clock.nowMs) } }, {})).rejects.toMatchObject({ code: "attestation_required" });
  });

  test("is revoked by its account or its own key, by nobody else, and once", async () => {
    const [client, other] = [await member(), await member()];
    const [one, two] = [await certify(client, "web.shop.internal"), await certify(client, "web.shop.internal")];
    const encoded = Buffer.from(one.leaf.der).toString("base64url");
    expect(await other.post("revoke-cert", { certificate: encoded })).toEqual(problem("unauthorized"));
    expect(await other.post("revoke-cert", { certificate: encoded }, { byKey: true })).toEqual(problem("unauthorized"));
    expect(await client.post("revoke-cert", { certificate: encoded, reason: 6 })).toEqual(problem("badRevocationReason"));
    expect((await client.post("revoke-cert", { certificate: encoded, reason: 4 })).status).toBe(200);
    expect(await client.post("revoke-cert", { certificate: encoded })).toEqual(problem("alreadyRevoked"));
    const own = await other.post("revoke-cert", { certificate: Buffer.from(two.leaf.der).toString("base64url"), reason: 1 }, { byKey: true, key: two.key });
    expect(own.status).toBe(200);
    expect(await host.store.certificate(two.leaf.serialNumber)).toMatchObject({ revocationReason: "keyCompromise" });
  });

  test("that came another way is not revoked here, whoever has its key", async () => {
    const holder = newCsr();
    const issued = await host.ca.issue({ csr: holder.csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/cart" } }, { caller: host.admin });
    const client = await member();
    const der = decodePem(issued.chain, "CERTIFICATE")[0]!;
    expect(await client.post("revoke-cert", { certificate: Buffer.from(der).toString("base64url") }, { byKey: true, key: holder.privateKey })).toEqual(problem("unauthorized"));
  });

  test("has a window for its renewal, and one that has begun once it is revoked; its successor says what it replaces", async () => {
    const client = await member();
    const { leaf } = await certify(client, "web.shop.internal");
    const octets = Buffer.from(leaf.serialNumber, "hex");
    const serial = (octets[0]! >= 0x80 ? Buffer.concat([Buffer.of(0), octets]) : octets).toString("base64url");
    const id = `${Buffer.from(leaf.authorityKeyIdentifier!).toString("base64url")}.${serial}`;
    const { body, headers } = await client.get(`renewal-info/${id}`);
    const { start, end } = body["suggestedWindow"] as unknown as { start: string; end: string };
    expect(Date.parse(start)).toBeGreaterThan(leaf.notBeforeMs + (leaf.notAfterMs - leaf.notBeforeMs) / 2);
    expect(Date.parse(end)).toBeGreaterThan(Date.parse(start));
    expect(Number(headers["retry-after"])).toBeGreaterThan(0);
    expect(await client.get(`renewal-info/${id}x`)).toEqual(problem("malformed", 404));
    expect(await client.get(`renewal-info/AAAA.${serial}`)).toEqual(problem("malformed", 404));
    const replacing = { identifiers: [{ type: "dns", value: "web.shop.internal" }], replaces: id };
    expect(await (await member()).post("new-order", replacing)).toEqual(problem("malformed"));
    const { token, ordered } = await challengeOf(client, await client.post("new-order", replacing));
    expect(ordered.body["replaces"]).toBe(id);
    pages.set(`web.shop.internal/.well-known/acme-challenge/${token.token}`, `${token.token}.${await client.thumbprint()}`);
    await client.post(token.url, {});
    expect((await client.post(String(ordered.body["finalize"]), { csr: csrFor(["web.shop.internal"]) })).body["status"]).toBe("valid");
    expect(await client.post("new-order", replacing)).toEqual(problem("alreadyReplaced", 409));
    await host.ca.revoke(leaf.serialNumber, "keyCompromise", host.admin);
    const now = (await client.get(`renewal-info/${id}`)).body["suggestedWindow"] as unknown as { end: string };
    expect(Date.parse(now.end)).toBeLessThan(host.clock.nowMs);
  });
});
