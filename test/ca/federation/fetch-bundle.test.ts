import type { ServerOptions } from "node:https";
import { afterAll, describe, expect, test } from "vitest";
import type { Relationship } from "../../../ca/federation/documents.ts";
import { requireEndpointUrl } from "../../../ca/federation/endpoint.ts";
import { FederationError } from "../../../ca/federation/errors.ts";
import { processBundle, requestBundle, type FetchTrust } from "../../../ca/federation/fetch-bundle.ts";
import { encodeBundle } from "../../../ca/pki/bundle.ts";
import { bundleEndpoint, type BundleEndpoint } from "../../support/bundle-endpoint.ts";
import { dns, ip, testAuthority, type TestLeaf } from "../../support/test-ca.ts";

const nowMs = Date.now();
const west = testAuthority({ trustDomain: "west" });
const north = testAuthority({ trustDomain: "north" });
/** Of the Web PKI, as far as these tests go. */
const web = testAuthority({ trustDomain: "web.example" });
const bundleText = encodeBundle(west.bundle());
const trust: FetchTrust = { bundles: new Map([...west.bundles(), ...north.bundles()]), webRoots: [web.pem], nowMs };
const endpointId = "spiffe://west/countersign/ca";
const webLeaf = (...names: readonly Uint8Array[]): TestLeaf => web.leaf({ names: names.length > 0 ? names : [dns("localhost")] });
const svid = west.leaf({ spiffeId: endpointId });

const endpoints: BundleEndpoint[] = [];
afterAll(async () => {
  for (const endpoint of endpoints) await endpoint.close();
});
async function at(leaf: TestLeaf, options?: ServerOptions): Promise<BundleEndpoint> {
  const endpoint = await bundleEndpoint(leaf, bundleText, options);
  endpoints.push(endpoint);
  return endpoint;
}

const byWeb = (url: string): Relationship => ({ trustDomain: "west", profile: "https_web", endpointUrl: url });
const bySpiffe = (url: string, id = endpointId): Relationship => ({ trustDomain: "west", profile: "https_spiffe", endpointUrl: url, endpointSpiffeId: id });
/** What came, or the code of why nothing did. */
async function fetched(relationship: Relationship, by: FetchTrust = trust): Promise<string> {
  try {
    return (await requestBundle(relationship, by)).text === bundleText ? "west's bundle" : "something else";
  } catch (error) {
    if (error instanceof FederationError) return error.code;
    throw error;
  }
}

describe("an https_web endpoint", () => {
  test("FE-01, FE-05, FE-07: is known by its host's certificate alone, and asked without one of our own", async () => {
    const endpoint = await at(webLeaf());
    expect(await fetched(byWeb(endpoint.url))).toBe("west's bundle");
    expect([endpoint.asked, endpoint.clientCertificates()]).toEqual([["/bundle"], 0]);
  });

  test("FE-06: may be named by its IP address", async () => {
    const endpoint = await at(webLeaf(ip(127, 0, 0, 1)));
    expect(await fetched(byWeb(`https://127.0.0.1:${endpoint.port}/`))).toBe("west's bundle");
  });

  test.each<[string, () => TestLeaf]>([
    ["FE-10: another name", () => webLeaf(dns("other.example"))],
    ["FE-06: no name at all", () => web.leaf()],
    ["FE-10: a CA nobody trusts", () => west.leaf({ names: [dns("localhost")] })],
    ["FE-10: a validity that is over", () => web.leaf({ names: [dns("localhost")], notAfterMs: nowMs - 60_000 })],
    ["FE-03: an X509-SVID that https_spiffe would take", () => svid],
  ])("with a certificate of %s is not asked", async (_, leaf) => {
    const endpoint = await at(leaf());
    expect(await fetched(byWeb(endpoint.url))).toBe("endpoint_untrusted");
    expect(endpoint.asked).toEqual([]);
  });

  test.each<[string, ServerOptions]>([
    ["TLS 1.1", { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" }],
    ["a cipher in CBC mode", { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-SHA256" }],
  ])("FE-02: is not spoken to with %s", async (_, options) => {
    expect(await fetched(byWeb((await at(webLeaf(), options)).url))).toMatch(/^endpoint_un/);
  });

  test("FE-02: is spoken to with TLS 1.2 of the intermediate configuration", async () => {
    expect(await fetched(byWeb((await at(webLeaf(), { maxVersion: "TLSv1.2" })).url))).toBe("west's bundle");
  });
});

describe("an https_spiffe endpoint", () => {
  test("FE-01, FE-12: is known by its SPIFFE ID and a bundle, whatever its host is called", async () => {
    const endpoint = await at(svid);
    expect(await fetched(bySpiffe(`https://127.0.0.1:${endpoint.port}/`))).toBe("west's bundle");
    expect(endpoint.clientCertificates()).toBe(0);
  });

  test("FE-14: may be of another trust domain, and is known by the newest bundle of that one", async () => {
    const hub = await at(north.leaf({ spiffeId: "spiffe://north/hub" }));
    expect(await fetched(bySpiffe(hub.url, "spiffe://north/hub"))).toBe("west's bundle");
    const replaced = new Map([...trust.bundles, ...testAuthority({ trustDomain: "north" }).bundles()]);
    expect(await fetched(bySpiffe(hub.url, "spiffe://north/hub"), { ...trust, bundles: replaced })).toBe("endpoint_untrusted");
  });

  test.each<[string, () => TestLeaf]>([
    ["FE-15: another ID of its trust domain", () => west.leaf({ spiffeId: "spiffe://west/web" })],
    ["FE-15: its ID by the root of another one", () => north.leaf({ spiffeId: endpointId })],
    ["FE-15: its ID by a root nobody knows", () => testAuthority({ trustDomain: "west" }).leaf({ spiffeId: endpointId })],
    ["FE-15: a validity that is over", () => west.leaf({ spiffeId: endpointId, notAfterMs: nowMs - 60_000 })],
    ["FE-03: the Web PKI, for its host", () => webLeaf()],
  ])("with a certificate of %s is not asked", async (_, leaf) => {
    const endpoint = await at(leaf());
    expect(await fetched(bySpiffe(endpoint.url))).toBe("endpoint_untrusted");
    expect(endpoint.asked).toEqual([]);
  });
});

describe("a redirect", () => {
  const redirecting = async (location: string, leaf = webLeaf()): Promise<BundleEndpoint> => {
    const endpoint = await at(leaf);
    endpoint.answer = (_, response) => void response.writeHead(302, { location }).end();
    return endpoint;
  };

  test("FE-09, FE-11: is followed on the same host, and each look begins at the configured URL", async () => {
    const target = await at(webLeaf());
    const endpoint = await redirecting(`${target.url}?moved`);
    for (let looks = 0; looks < 2; looks++) expect(await fetched(byWeb(endpoint.url))).toBe("west's bundle");
    expect([endpoint.asked, target.asked]).toEqual([["/bundle", "/bundle"], ["/bundle?moved", "/bundle?moved"]]);
  });

  test("FE-11: to another host is followed only where the SPIFFE ID is the same", async () => {
    const [good, other, known] = [await at(svid), await at(west.leaf({ spiffeId: "spiffe://west/web" })), await at(webLeaf(ip(127, 0, 0, 1)))];
    expect(await fetched(bySpiffe((await redirecting(`https://127.0.0.1:${good.port}/`, svid)).url))).toBe("west's bundle");
    expect(await fetched(bySpiffe((await redirecting(`https://127.0.0.1:${other.port}/`, svid)).url))).toBe("endpoint_untrusted");
    expect(await fetched(byWeb((await redirecting(`https://127.0.0.1:${known.port}/`)).url))).toBe("endpoint_answer");
    expect([other.asked, known.asked]).toEqual([[], []]);
  });

  test.each(["http://localhost/", "https://user@localhost/", "https://localhost:1/#there", "file:///etc/passwd", "https://"])("FE-04: to %s is not followed", async (location) => {
    expect(await fetched(byWeb((await redirecting(location)).url))).toBe("endpoint_answer");
  });

  test("is followed five times", async () => {
    const endpoint = await redirecting("/again");
    expect(await fetched(byWeb(endpoint.url))).toBe("endpoint_answer");
    expect(endpoint.asked).toHaveLength(6);
  });
});

test.each(["http://west/", "https://me@west/", "https://me:pw@west/", "https://west/#x", "spiffe://west/x"])("FE-04: %s is no URL of an endpoint", (url) => {
  expect(() => requireEndpointUrl(new URL(url))).toThrow(FederationError);
});

describe("an answer", () => {
  test.each<[string, BundleEndpoint["answer"]]>([
    ["is longer than any bundle", (_, response) => void response.end("x".repeat(600 * 1024))],
    ["is not UTF-8", (_, response) => void response.end(Buffer.from([0x7b, 0xff]))],
    ["is compressed", (_, response) => void response.writeHead(200, { "content-encoding": "gzip" }).end("x")],
  ])("that %s is not taken", async (_, answer) => {
    const endpoint = await at(webLeaf());
    endpoint.answer = answer;
    expect(await fetched(byWeb(endpoint.url))).toBe("endpoint_answer");
  });

  test("that breaks off is no bundle", async () => {
    const endpoint = await at(webLeaf());
    endpoint.answer = (_, response) => void response.writeHead(200, { "content-length": 1000 }).write("{", () => response.destroy());
    expect(await fetched(byWeb(endpoint.url))).toBe("endpoint_unreachable");
  });

  test("of a host where nobody listens is not there", async () => {
    const endpoint = await at(webLeaf());
    await endpoint.close();
    expect(await fetched(byWeb(endpoint.url))).toBe("endpoint_unreachable");
  });
});

describe("what an answer is good for", () => {
  const encoded = (sequence: bigint | undefined, more: object = {}): string => encodeBundle({ ...west.bundle(), ...(sequence !== undefined && { sequence }), ...more });
  const answer = (text: string, feedEpoch?: string, status = 200) => ({ status, text, location: undefined, feedEpoch });
  function held(text: string, feedEpoch?: string) {
    const stored = processBundle({ trustDomain: "west" }, undefined, answer(text, feedEpoch), nowMs)!;
    return { ...stored, parsed: { ...west.bundle(), ...sequenceOf(text) }, changedAtMs: 0, sequence: 1 };
  }
  const sequenceOf = (text: string) => {
    const found = /"spiffe_sequence":(\d+)/.exec(text)?.[1];
    return found === undefined ? {} : { sequence: BigInt(found) };
  };
  const nowMs = Date.now();
  const codeOf = (trustDomain: string, ...args: [Parameters<typeof processBundle>[1], Parameters<typeof processBundle>[2]]): string => {
    try {
      return processBundle({ trustDomain }, ...args, nowMs) === undefined ? "unchanged" : "stored";
    } catch (error) {
      if (error instanceof FederationError) return error.code;
      throw error;
    }
  };

  test("FE-19: a sequence never goes back, by 64 bits; without one the newest fetch wins", () => {
    const before = held(encoded(9007199254740993n));
    expect(codeOf("west", before, answer(encoded(9007199254740992n)))).toBe("bundle_refused");
    expect(codeOf("west", before, answer(encoded(9007199254740994n)))).toBe("stored");
    expect(codeOf("west", before, answer(encoded(9007199254740993n)))).toBe("unchanged");
    expect(codeOf("west", before, answer(encoded(undefined)))).toBe("stored");
    expect(codeOf("west", held(encoded(undefined)), answer(encoded(1n)))).toBe("stored");
  });

  test("FE-19: but where a CA says that it came back from a backup", () => {
    expect(codeOf("west", held(encoded(9n), "one"), answer(encoded(8n), "two"))).toBe("stored");
    expect(codeOf("west", held(encoded(9n), "one"), answer(encoded(8n), "one"))).toBe("bundle_refused");
    expect(codeOf("west", held(encoded(9n), "one"), answer(encoded(8n)))).toBe("bundle_refused");
  });

  test.each([["BF-05: no keys", "{}"], ["no JSON", "<html>"], ["a private key", `{"keys":[{"kty":"EC","use":"jwt-svid","kid":"a","crv":"P-256","x":"AA","y":"AA","d":"AA"}]}`]])("%s is refused", (_, text) => {
    expect(codeOf("west", undefined, answer(text))).toBe("bundle_refused");
  });

  test("another status than 200 is no bundle", () => {
    for (const status of [204, 404, 500]) expect(codeOf("west", undefined, answer(bundleText, undefined, status))).toBe("endpoint_answer");
  });

  test("BF-06: an empty bundle is taken: nobody of that trust domain is believed", () => {
    expect(processBundle({ trustDomain: "west" }, held(encoded(1n)), answer(`{"keys":[],"spiffe_sequence":2}`), nowMs)?.bundle).toBe(`{"keys":[],"spiffe_sequence":2}`);
  });

  test("what is stored is written anew from what was understood", () => {
    const odd = JSON.stringify({ ...JSON.parse(encoded(3n, { refreshHintSeconds: 30 })) as object, keys: [...(JSON.parse(bundleText) as { keys: object[] }).keys, { kty: "oct", use: "tls", k: "AA" }], more: 1 });
    expect(processBundle({ trustDomain: "west" }, undefined, answer(odd), nowMs)).toEqual({ bundle: encoded(3n), refreshHintSeconds: 30 });
  });
});
