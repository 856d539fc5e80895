import { createPublicKey } from "node:crypto";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { once } from "node:events";
import { connect } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import { parseBundle, type Bundle } from "../../ca/pki/bundle.ts";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { parseRenewalProof, verifyRenewalProof } from "../../ca/pki/renewal-proof.ts";
import { parseRequestAuthorization, signedBytes } from "../../ca/pki/request-authorization.ts";
import { caClient, type CaClient } from "../../proxy/ca-client.ts";
import { CaError } from "../../proxy/ca-error.ts";
import { presentedChain } from "../../proxy/presented.ts";
import { fakeCa, json, problem, type FakeCa } from "../support/fake-ca.ts";
import { testAuthority } from "../support/test-ca.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const nothing = (): ReadonlySet<string> => new Set();
const token = "join_secret-of-the-token";
const issueRequest = { csr: "AAAA", attestation: { type: "join-token", token } } as const;

interface ClientFaults { readonly bundle?: Bundle; readonly timeoutMs?: number; readonly fingerprint?: string; readonly now?: () => number }

async function setUp(options: Parameters<typeof fakeCa>[0] = {}, client: ClientFaults = {}) {
  const ca = await fakeCa(options);
  closing.push(() => ca.stop());
  return { ca, client: clientOf(ca, client) };
}

function clientOf(ca: FakeCa, { bundle, timeoutMs = 5000, fingerprint, now = Date.now }: ClientFaults = {}): CaClient {
  const client = caClient({
    caUrl: ca.url, trustDomain: "east", ownBundle: () => bundle, revoked: nothing, rootFingerprints: [fingerprint ?? ca.bootstrap.rootFingerprint], now, timeoutMs,
  });
  closing.push(() => client.close());
  return client;
}

/** Serial numbers of the chain a server presents, as the deny-list writes them. */
async function presentedSerials(url: string): Promise<string[]> {
  const socket = connect({ port: Number(new URL(url).port), host: "127.0.0.1", rejectUnauthorized: false });
  closing.push(() => socket.destroy());
  await once(socket, "secureConnect");
  return presentedChain(socket).map((der) => parseCertificate(der).serialNumber);
}

async function failure(promise: Promise<unknown>): Promise<CaError> {
  const error = await promise.then(() => undefined, (thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CaError);
  return error as CaError;
}

describe("who is believed to be the CA", () => {
  test("by web roots, nobody whose certificate is from another root, though it were our own", async () => {
    const ca = await fakeCa();
    closing.push(() => ca.stop());
    const client = caClient({
      caUrl: ca.url, trustDomain: "east", ownBundle: () => undefined, revoked: nothing, rootFingerprints: [ca.bootstrap.rootFingerprint], byWebRoots: true, now: Date.now,
    });
    closing.push(() => client.close());
    expect((await failure(client.issue(issueRequest, "key"))).code).toBe("ca_untrusted");
    expect(ca.core.requests).toEqual([]);
  });

  test("before there is a bundle, the one whose bundle has the pinned root and whose SVID it vouches for", async () => {
    const { client, ca } = await setUp();
    expect(await client.revocations(0)).toMatchObject({ revocations: [], sequence: 0, more: false });
    expect(ca.core.requests.map(({ path }) => path)).toEqual(["/v1/bundle", "/v1/revocations"]);
  });

  const impostors: Record<string, { options: Parameters<typeof fakeCa>[0]; client?: Parameters<typeof setUp>[1] }> = {
    "a CA with another root": { options: {}, client: { fingerprint: "ab".repeat(32) } },
    "a workload of our own trust domain": { options: { serverId: "spiffe://east/ns/shop/sa/cart" } },
    "a server signed by another root that shows our CA's bundle": { options: { serverAuthority: testAuthority({ trustDomain: "east" }).issuer() } },
    "the CA of another trust domain": { options: { serverAuthority: testAuthority({ trustDomain: "west" }).issuer(), serverId: "spiffe://west/countersign/ca" } },
    "a CA whose certificate has expired": { options: { serverFaults: { notAfterMs: Date.UTC(2025, 0, 1) } } },
    "a server without the server's purpose": { options: { serverFaults: { extensions: { extendedKeyUsage: null, keyUsage: null } } } },
  };
  for (const [who, { options, client: clientOptions }] of Object.entries(impostors)) {
    test(`${who} is not, and never gets the token`, async () => {
      const { ca, client } = await setUp(options, clientOptions);
      const error = await failure(client.issue(issueRequest, "k"));
      expect(error.code).toBe("ca_untrusted");
      expect(error.message).not.toContain(token);
      expect(ca.core.requests.filter(({ path }) => path !== "/v1/bundle")).toEqual([]);
      expect(JSON.stringify(ca.core.requests)).not.toContain(token);
    });
  }

  test("with a bundle, it alone decides: the pinned root is not enough any more", async () => {
    const other = testAuthority({ trustDomain: "east" });
    const { ca, client } = await setUp({}, { bundle: other.bundle() });
    expect((await failure(client.issue(issueRequest, "k"))).code).toBe("ca_untrusted");
    expect(ca.core.requests).toEqual([]);
  });

  test("a kept connection is judged again before it is used again", async () => {
    let bundle: Bundle | undefined;
    const { ca } = await setUp();
    const { rootFingerprint } = ca.bootstrap;
    const client = caClient({ caUrl: ca.url, trustDomain: "east", ownBundle: () => bundle, revoked: nothing, rootFingerprints: [rootFingerprint], now: Date.now });
    closing.push(() => client.close());
    await client.revocations(0);
    await client.revocations(0);
    // One to fetch what the fingerprint pins, one that was verified by it.
    expect(ca.connections).toHaveLength(2);
    bundle = testAuthority({ trustDomain: "east" }).bundle();
    expect((await failure(client.revocations(0))).code).toBe("ca_untrusted");
    expect(ca.core.requests).toHaveLength(3);
  });

  test("a CA whose certificate, or its issuer's, is revoked is not, on a kept connection either", async () => {
    const { ca } = await setUp();
    let revoked: ReadonlySet<string> = new Set();
    const client = caClient({
      caUrl: ca.url, trustDomain: "east", ownBundle: () => ca.core.root.bundle(), revoked: () => revoked, rootFingerprints: [], now: Date.now,
    });
    closing.push(() => client.close());
    await client.revocations(0);
    const [leaf, issuer] = await presentedSerials(ca.url);
    for (const serialNumber of [leaf!, issuer!]) {
      revoked = new Set([serialNumber]);
      const error = await failure(client.issue(issueRequest, "k"));
      expect(error).toMatchObject({ code: "ca_untrusted", message: expect.stringContaining(`certificate ${serialNumber} is revoked`) as string });
    }
    expect(ca.core.requests.map(({ path }) => path)).toEqual(["/v1/revocations"]);
    revoked = new Set(["00ff"]);
    await client.revocations(0);
  });

  test("a server that speaks no TLS 1.3 is refused", async () => {
    const { client } = await setUp({ maxVersion: "TLSv1.2" });
    expect((await failure(client.revocations(0))).code).toBe("ca_unreachable");
  });

  test("we present no certificate and resume no session", async () => {
    const { ca, client } = await setUp({}, {});
    await client.revocations(0);
    await ca.stop();
    await ca.start();
    await client.revocations(0);
    expect(ca.connections.length).toBeGreaterThan(1);
    expect(ca.connections).not.toContainEqual(expect.objectContaining({ clientCertificate: true }));
    expect(ca.connections).not.toContainEqual(expect.objectContaining({ resumed: true }));
  });
});

describe("what is believed of an answer", () => {
  async function answered(answer: ReturnType<FakeCa["core"]["intercept"]>): Promise<CaError> {
    const { ca, client } = await setUp();
    ca.core.intercept = ({ path }) => (path === "/v1/certificates" ? answer : undefined);
    return failure(client.issue(issueRequest, "k"));
  }

  test("garbage, another type, missing parts: refused as invalid", async () => {
    for (const answer of [
      { status: 200, headers: { "content-type": "application/json" }, body: "{" },
      { status: 200, headers: { "content-type": "text/html" }, body: "{}" },
      { status: 200, headers: { "content-type": "application/json" }, body: "[]" },
      { status: 200, headers: { "content-type": "application/json" }, body: Buffer.from([0x7b, 0xff, 0x7d]) },
      { status: 200, headers: { "content-type": "application/json", "content-encoding": "gzip" }, body: "{}" },
      json(200, { chain: 7, bundles: {} }),
      json(200, { chain: "x" }),
      { status: 204, body: "" },
    ]) expect((await answered(answer)).code).toMatch(/^ca_(answer_invalid|unavailable)$/);
  });

  test("a huge answer is cut off, not collected", async () => {
    const error = await answered({ status: 200, headers: { "content-type": "application/json" }, body: Buffer.alloc(3 * 1024 * 1024, 0x20) });
    expect(error.code).toBe("ca_answer_invalid");
    expect(error.message).toContain("longer than");
  });

  test("a redirect is not followed", async () => {
    const error = await answered({ status: 307, headers: { location: "https://elsewhere.example/" }, body: "" });
    expect(error.code).toBe("ca_answer_invalid");
    expect(error.message).toContain("redirect");
  });

  test("a refusal keeps the CA's code and sentence, an overload its Retry-After", async () => {
    const refused = await answered(problem("token_expired"));
    expect(refused).toMatchObject({ code: "ca_refused", problemCode: "token_expired", retryAfterMs: undefined });
    expect(refused.message).toContain("Refused for token_expired.");
    expect(await answered(problem("store_busy", { "retry-after": "7" }))).toMatchObject({ code: "ca_unavailable", problemCode: "store_busy", retryAfterMs: 7000 });
    expect(await answered({ status: 429, headers: { "retry-after": "999999999" }, body: "" })).toMatchObject({ code: "ca_unavailable", retryAfterMs: 600_000 });
    expect(await answered(problem("request_timeout"))).toMatchObject({ code: "ca_unavailable" });
    const inAMinute = new Date(Math.ceil(Date.now() / 1000) * 1000 + 60_000).toUTCString();
    const { retryAfterMs } = await answered({ status: 503, headers: { "retry-after": inAMinute }, body: "" });
    expect(retryAfterMs).toBeGreaterThan(50_000);
    expect(retryAfterMs).toBeLessThanOrEqual(61_000);
  });

  test("what a refusal says cannot break out of its log line or grow without bound", async () => {
    const error = await answered({ status: 403, headers: {}, body: JSON.stringify({ detail: `x\n\u001b[2J${"y".repeat(5000)}`, code: "constructor" }) });
    expect(error.problemCode).toBeUndefined();
    expect(error.message).not.toMatch(/[^\x20-\x7e]/);
    expect(error.message.length).toBeLessThan(600);
  });

  test("a bundle's 64-bit sequence survives the trip", async () => {
    const { ca, client } = await setUp();
    ca.core.sequence = 2n ** 64n - 1n;
    ca.core.intercept = ({ path }) => (path === "/v1/certificates"
      ? { status: 201, headers: { "content-type": "application/json" }, body: `{"chain":"","bundles":{"east":${ca.core.bundleText()}}}` } : undefined);
    const { bundles } = await client.issue(issueRequest, "k");
    expect(parseBundle("east", bundles["east"] ?? "").sequence).toBe(2n ** 64n - 1n);
  });

  test("a page with anything that is no revocation is refused whole", async () => {
    const { ca, client } = await setUp();
    const good = { sequence: 1, serialNumber: "00ff", reason: "unspecified", revokedAt: "2026-01-01T00:00:00Z", notAfter: "2026-01-02T00:00:00Z" };
    for (const bad of [{ ...good, serialNumber: "00FF" }, { ...good, serialNumber: "" }, { ...good, notAfter: "soon" }, { ...good, sequence: -1 }, null, 7]) {
      ca.core.intercept = ({ path }) => (path === "/v1/revocations" ? json(200, { revocations: [good, bad], sequence: 2, more: false }) : undefined);
      expect((await failure(client.revocations(0))).code).toBe("ca_answer_invalid");
    }
    ca.core.intercept = ({ path }) => (path === "/v1/revocations" ? json(200, { revocations: [good], sequence: 1, more: false }) : undefined);
    expect((await client.revocations(0)).revocations).toEqual([good]);
  });

  test("an unchanged bundle is asked for by its tag and not sent again", async () => {
    const { ca, client } = await setUp();
    const first = await client.bundle(undefined);
    expect(first?.etag).toBe('"1"');
    expect(await client.bundle(first?.etag)).toBeUndefined();
    ca.core.sequence = 2n;
    expect((await client.bundle(first?.etag))?.etag).toBe('"2"');
  });
});

describe("when the CA is not well", () => {
  test("a CA that is down is unreachable, and reached again when it is up", async () => {
    const { ca, client } = await setUp();
    await client.revocations(0);
    await ca.stop();
    const error = await failure(client.revocations(0));
    expect(error.code).toBe("ca_unreachable");
    expect(error.message).toContain("ECONNREFUSED");
    await ca.start();
    expect(await client.revocations(0)).toMatchObject({ sequence: 0 });
  });

  test("a CA that never answers is given up on", async () => {
    const { ca, client } = await setUp({}, { timeoutMs: 2000 });
    await client.revocations(0);
    ca.silent = true;
    expect((await failure(client.revocations(0))).code).toBe("ca_timeout");
  });

  test("a server that never finishes the handshake is given up on", async () => {
    const { ca } = await setUp();
    const mute = createTcpServer(() => undefined).listen(0, "127.0.0.1");
    await once(mute, "listening");
    closing.push(() => mute.close());
    const client = caClient({
      caUrl: `https://127.0.0.1:${(mute.address() as AddressInfo).port}`, trustDomain: "east", ownBundle: () => ca.core.root.bundle(),
      revoked: nothing, rootFingerprints: [], now: Date.now, timeoutMs: 100,
    });
    expect((await failure(client.revocations(0))).code).toBe("ca_timeout");
  });

  test("a token is asked for with a signature over the request's body, and what is none is not taken for one", async () => {
    const { ca } = await setUp();
    const client = clientOf(ca, { bundle: ca.core.root.bundle() });
    const { chain, privateKey } = ca.core.issuer.leaf({ spiffeId: "spiffe://east/web" });
    ca.core.intercept = ({ path }) => (path === "/v1/jwt-svids" ? json(201, { token: "a.b.c" }) : undefined);
    expect(await client.jwtSvid({ chain, privateKey }, { audience: ["db"] })).toBe("a.b.c");
    const { method, body, headers } = ca.core.requests.at(-1)!;
    expect([method, JSON.parse(body)]).toEqual(["POST", { audience: ["db"] }]);
    const { proof, nonce } = parseRequestAuthorization(String(headers.authorization))!;
    const target = { method: "POST", target: "/v1/jwt-svids" };
    const verify = (text: string) => verifyRenewalProof(parseRenewalProof(proof, "request"), createPublicKey(privateKey), signedBytes({ ...target, body: text }, nonce), "east");
    verify(body);
    expect(() => verify(`${body} `)).toThrow(/made for another request/);
    for (const nonsense of [{}, { token: 1 }, []]) {
      ca.core.intercept = () => json(201, nonsense);
      expect((await failure(client.jwtSvid({ chain, privateKey }, { audience: ["db"] }))).code).toBe("ca_answer_invalid");
    }
  });

  test("a kept connection that the server has just closed costs no failure", async () => {
    const { ca, client } = await setUp();
    await client.revocations(0);
    let losses = 1;
    ca.loses = () => losses-- > 0;
    expect(await client.revocations(0)).toMatchObject({ sequence: 0 });
  });
});
