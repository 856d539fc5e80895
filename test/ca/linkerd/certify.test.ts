import { generateKeyPairSync } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { certificateDifference } from "../../../ca/audit/compare-rows.ts";
import { certifyPath, linkerdIdentity, type LinkerdDeps } from "../../../ca/linkerd/certify.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodeCsr } from "../../../ca/pki/csr.ts";
import { decodeFields, encodeField } from "../../../ca/pki/protobuf.ts";
import { sha256 } from "../../../ca/pki/sha256.ts";
import { describeSpki } from "../../../ca/pki/key.ts";
import { verifySvid } from "../../../ca/pki/svid.ts";
import { startCluster, type Cluster } from "../../support/cluster.ts";
import { Refusal } from "../../../ca/refusal.ts";
import { SignerError } from "../../../ca/signer/errors.ts";
import { auditEvents, newKey, startTestCa, type TestCa } from "../../support/running-ca.ts";
import { testAuthority } from "../../support/test-ca.ts";

let cluster: Cluster;
let host: TestCa;
beforeAll(async () => {
  cluster = await startCluster(() => new Date(host?.clock.nowMs ?? Date.now()));
  const { platform, ownTokenFile } = cluster;
  host = await startTestCa({
    settings: {
      linkerdListen: "127.0.0.1:0", linkerdAttestor: "cluster", apiNames: ["linkerd-identity.linkerd.serviceaccount.identity.linkerd.cluster.local"],
      attestors: {
        cluster: {
          type: "kubernetes", api: platform.url, caFile: platform.caFile, tokenFile: ownTokenFile, audience: "identity.l5d.io",
          dnsNames: ["{serviceAccount}.{namespace}.serviceaccount.identity.linkerd.cluster.local", "{serviceAccount}.{namespace}.svc"],
        },
      },
    } as unknown as Record<string, string>,
  });
});
afterAll(async () => {
  await host.close();
  await cluster.close();
});

const cart = "cart.shop.serviceaccount.identity.linkerd.cluster.local";
interface Call {
  readonly identity?: string;
  readonly token?: string;
  readonly key?: ReturnType<typeof newKey>;
  readonly csr?: Uint8Array;
}
const tokenOf = (pod = "cart-1", serviceAccount = "cart"): Promise<string> => cluster.token({ pod, serviceAccount, audience: "identity.l5d.io" });
async function messageOf({ identity = cart, token, key = newKey(), csr = encodeCsr({ privateKey: key, dnsSans: [identity] }) }: Call): Promise<Uint8Array> {
  return Buffer.concat([encodeField(1, identity), encodeField(2, token ?? (await tokenOf())), encodeField(3, csr)]);
}
async function certify(call: Call = {}) {
  const answer = await host.ca.linkerd!(certifyPath, await messageOf(call));
  if ("code" in answer) return answer;
  const fields = decodeFields(answer);
  const chain = [...(fields.get(1) ?? []), ...(fields.get(2) ?? [])];
  return { chain, leaf: parseCertificate(chain[0]!) };
}
async function certified(call: Call = {}) {
  const answer = await certify(call);
  if ("code" in answer) throw new Error(answer.message);
  return answer;
}

describe("a stock Linkerd proxy", () => {
  test("LC-08, LC-09, LC-10, LC-11: gets the name it asks for, before its SPIFFE ID and with no other, for both sides of TLS, under the anchors it has", async () => {
    const { leaf, chain } = await certified();
    expect(leaf.subjectAltName).toMatchObject({ dnsNames: [cart], uris: ["spiffe://east/ns/shop/sa/cart"] });
    expect(describeSpki(leaf.spki)).toEqual({ keyAlgorithm: "ec-p256" });
    expect(leaf.extendedKeyUsage?.purposes).toEqual(expect.arrayContaining(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]));
    const der = Buffer.from(leaf.der);
    expect(der.indexOf(cart)).toBeLessThan(der.indexOf("spiffe://"));
    const bundle = { trustDomain: "east", x509Authorities: [parseCertificate(Buffer.from(host.ca.bundle().pem.replaceAll(/-----[^-]+-----|\s/g, ""), "base64"))], jwtAuthorities: [] };
    for (const purpose of ["client", "server"] as const) verifySvid({ chain, bundles: new Map([["east", bundle]]), nowMs: host.clock.nowMs, purpose });
    expect((await auditEvents(host.store)).at(-1)).toMatchObject({ type: "certificate.issued", profile: "linkerd", attestor: "cluster", dnsNames: [cart], evidence: { pod: "cart-1" } });
  });

  test("LC-15: gets no bundle with its certificate: leaf, issuer and validity are all there is", async () => {
    const answer = (await host.ca.linkerd!(certifyPath, await messageOf({}))) as Uint8Array;
    expect([...decodeFields(answer).keys()]).toEqual([1, 2, 3]);
    expect(decodeFields(answer).get(2)!.map((der) => parseCertificate(der)).filter(({ issuer, subject }) => Buffer.compare(issuer, subject) === 0)).toEqual([]);
  });

  test("LC-13: keeps its key, visibly: each renewal says so in the log, and the log fits the table", async () => {
    const key = newKey();
    const serials = new Set<string>();
    for (let renewal = 0; renewal < 3; renewal++) {
      const { leaf } = await certified({ key });
      serials.add(leaf.serialNumber);
      const event = (await auditEvents(host.store)).at(-1) as never;
      expect(event).toMatchObject(renewal === 0 ? { profile: "linkerd" } : { keyReused: true });
      const row = (await host.store.certificate(leaf.serialNumber))!;
      expect(certificateDifference(event, row)).toBeUndefined();
      expect(certificateDifference(event, { ...row, keyFingerprint: sha256("another key") })).toBe("key");
    }
    expect(serials.size).toBe(3);
    expect(new Set((await auditEvents(host.store)).filter(({ serialNumber }) => serials.has(String(serialNumber))).map(({ keyFingerprint }) => keyFingerprint)).size).toBe(1);
  });

  test("LC-13: has to make a new key once a certificate for its key is revoked, be it the first or a later one", async () => {
    for (const revoked of [0, 1]) {
      const key = newKey();
      const leaves = [await certified({ key }), await certified({ key })];
      await host.ca.revoke(leaves[revoked]!.leaf.serialNumber, "keyCompromise", host.admin);
      expect(await certify({ key })).toMatchObject({ code: 9, message: expect.stringContaining("was revoked") as string });
    }
    await certified();
  });

  test("LC-13: has no key that another workload's certificate is for", async () => {
    const key = newKey();
    await certified({ key });
    const identity = "till.shop.serviceaccount.identity.linkerd.cluster.local";
    expect(await certify({ key, identity, token: await tokenOf("till-1", "till") })).toMatchObject({ code: 9, message: expect.stringContaining("another workload") as string });
    await expect(host.ca.issue({ csr: Buffer.from(encodeCsr({ privateKey: key })).toString("base64"), attestation: { type: "kubernetes", token: await tokenOf() } }, {})).rejects.toMatchObject({ code: "key_reused" });
  });
});

describe("LC-07: Linkerd's order and codes:", () => {
  const p256 = newKey();
  const changed = (csr: Uint8Array): Uint8Array => Uint8Array.from(csr, (byte, index) => (index === csr.length - 1 ? byte ^ 1 : byte));
  test.each<[string, Call | (() => Promise<Call>), number, RegExp]>([
    ["without an identity", { identity: "" }, 3, /^missing identity/],
    ["without a token", { token: "" }, 3, /^missing token/],
    ["without a CSR", { csr: new Uint8Array() }, 3, /^missing certificate_signing_request/],
    ["with a CSR that is none", { csr: Buffer.from("hunter2") }, 3, /certificate_signing_request is refused/],
    ["with a CSR that another key signed (LC-14)", { csr: changed(encodeCsr({ privateKey: p256, dnsSans: [cart] })) }, 3, /signed|refused/],
    ["with a CSR for no name", { csr: encodeCsr({ privateKey: p256 }) }, 9, /one DNS name/],
    ["with a CSR for another name", { csr: encodeCsr({ privateKey: p256, dnsSans: ["admin.shop"] }) }, 9, /one DNS name/],
    ["with a CSR for two names", { csr: encodeCsr({ privateKey: p256, dnsSans: [cart, "admin.shop"] }) }, 9, /one DNS name/],
    ["with a CSR for a URI", { csr: encodeCsr({ privateKey: p256, dnsSans: [cart], uriSans: ["spiffe://east/admin"] }) }, 9, /not DNS names/],
    ["with a P-384 key (LC-08)", { key: generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey }, 9, /ec-p384/],
    ["with a bad CSR and a bad token: the CSR is said first", { csr: encodeCsr({ privateKey: p256 }), token: "x" }, 9, /one DNS name/],
    ["with a token that is none", { token: "hunter2" }, 3, /no JWT/],
    ["with a token for another audience", async () => ({ token: await cluster.token({ pod: "cart-1", audience: "spiffe://east" }) }), 3, /not for the audience/],
    ["with a token that the cluster did not sign", async () => ({ token: `${(await tokenOf()).slice(0, -8)}AAAAAAAA` }), 3, /signature/],
    ["with a token that the cluster does not know, and says no more of", async () => {
      cluster.deletedPods.add("cart-gone");
      return { token: await tokenOf("cart-gone") };
    }, 9, /was deleted/],
    ["for a service account that is not the token's", { identity: "admin.shop.serviceaccount.identity.linkerd.cluster.local" }, 9, /not the token's/],
    ["for Linkerd's own identity service", async () => ({ identity: "linkerd-identity.linkerd.serviceaccount.identity.linkerd.cluster.local", token: await cluster.token({ pod: "i-1", namespace: "linkerd", serviceAccount: "linkerd-identity", audience: "identity.l5d.io" }) }), 9, /CA's own API/],
  ])("a call %s is refused", async (_claim, call, code, message) => {
    expect(await certify(typeof call === "function" ? await call() : call)).toMatchObject({ code, message: expect.stringMatching(message) as string });
  });

  test("what is no message, and another method, are refused", async () => {
    expect(await host.ca.linkerd!(certifyPath, Buffer.from([0x0a, 0x7f]))).toMatchObject({ code: 3 });
    expect(await host.ca.linkerd!("/io.linkerd.proxy.identity.Identity/Other", new Uint8Array())).toMatchObject({ code: 12 });
  });

  test("what the cluster's review says is wrong is InvalidArgument, in its words and without the token", async () => {
    const token = await tokenOf();
    cluster.review = (status) => ({ ...status, error: `[invalid bearer token, ${token.split(".")[2]}\nhas been invalidated]` });
    try {
      const answer = await certify({ token });
      expect(answer).toMatchObject({ code: 3, message: expect.stringContaining("([invalid bearer token, ... has been invalidated])") as string });
    } finally {
      cluster.review = undefined;
    }
  });

  test("a cluster that does not say that it looked at the audience is not asked again without one: FailedPrecondition", async () => {
    cluster.review = ({ audiences: _, ...status }) => status;
    try {
      expect(await certify()).toMatchObject({ code: 9, message: expect.stringContaining("did not check that it is for the audience") as string });
    } finally {
      cluster.review = undefined;
    }
  });

  test("a cluster that cannot be asked is Internal, and a refusal shows no token", async () => {
    const path = "/apis/authentication.k8s.io/v1/tokenreviews";
    const answer = cluster.platform.answers.get(path)!;
    cluster.platform.answers.delete(path);
    expect(await certify()).toMatchObject({ code: 13 });
    cluster.platform.answers.set(path, answer);
    expect(JSON.stringify(await auditEvents(host.store)) + host.logged.join("\n")).not.toMatch(/eyJ[A-Za-z0-9_-]{20}/);
  });

  const root = testAuthority({ trustDomain: "east" });
  const nowMs = Date.now();
  const signing = (issuer = root.issuer()) => ({ chain: issuer.chain.map((der) => parseCertificate(der)), anchors: [parseCertificate(root.der)] });
  const expired = signing(root.issuer({ notBeforeMs: nowMs - 7_200_000, notAfterMs: nowMs - 3_600_000 }));
  const logged: string[] = [];
  /** The service with another issuer, or another end of what issuing does. */
  const served = (deps: Partial<LinkerdDeps>) => linkerdIdentity({
    signing: async () => signing(), issue: async () => { throw new Error("nobody should have come so far"); }, attestor: "cluster", onDenied: () => undefined, now: () => new Date(nowMs),
    log: { info: () => undefined, warn: () => undefined, error: (_, message) => void logged.push(message) }, ...deps,
  });

  test("without an issuer all is Unavailable, whatever is asked", async () => {
    const ask = served({ signing: async () => undefined });
    for (const call of [{}, { identity: "" }, { csr: Buffer.from("none") }]) expect(await ask(certifyPath, await messageOf(call))).toMatchObject({ code: 14, message: expect.stringContaining("no issuer") as string });
  });

  test("an issuer that has ended, or that is by a root nobody has, is Unknown: after the request is read, before its names and its token are looked at", async () => {
    const stranger = signing(testAuthority({ trustDomain: "east" }).issuer());
    for (const [broken, why] of [[expired, /expired/], [stranger, /do not fit|no trusted/]] as const) {
      const ask = served({ signing: async () => broken });
      expect(await ask(certifyPath, await messageOf({ csr: Buffer.from("none") }))).toMatchObject({ code: 3 });
      expect(await ask(certifyPath, await messageOf({ token: "x", csr: encodeCsr({ privateKey: p256 }) }))).toMatchObject({ code: 2, message: expect.stringMatching(why) as string });
    }
  });

  test.each<[string, unknown, number]>([
    ["a key that does not sign is Internal", new SignerError("signer_unavailable", "KMS does not answer"), 13],
    ["what the lint refuses is Internal", new Refusal("lint_failed", "the certificate breaks a rule"), 13],
    ["an issuer that is gone meanwhile is Unavailable", new Refusal("issuer_unavailable", "there is none"), 14],
    ["a database that does not answer is Unavailable", new Refusal("store_unavailable", "it does not answer"), 14],
    ["too many calls are ResourceExhausted", new Refusal("rate_limited", "later"), 8],
  ])("%s", async (_claim, error, code) => {
    logged.length = 0;
    const ask = served({ issue: async () => { throw error; } });
    expect(await ask(certifyPath, await messageOf({}))).toMatchObject({ code });
    // What only we can mend is told to nobody but our log.
    expect(logged).toHaveLength(error instanceof Refusal ? 0 : 1);
  });
});
