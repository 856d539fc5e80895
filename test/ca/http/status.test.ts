import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createStatusApp } from "../../../ca/http/app.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { parseCrl } from "../../../ca/pki/crl.ts";
import { encodeNull, encodeOctetString, encodeOid, encodeSequence, encodeUnsignedInteger } from "../../../ca/pki/der-encoding.ts";
import { hash } from "node:crypto";
import { keyBitsOf } from "../../../ca/pki/key.ts";
import { digestOid } from "../../../ca/pki/oid.ts";
import { startTestApp, type TestApp } from "../../support/running-app.ts";

let app: TestApp;
let status: ReturnType<typeof createStatusApp>;
let issuerId: string;
let crlPath: string;
beforeAll(async () => {
  app = await startTestApp();
  status = createStatusApp(app.ca, { log: { isLevelEnabled: () => false, debug: () => undefined, error: () => undefined }, registry: app.ca.metrics.registry });
  issuerId = (await app.store.authorities()).find(({ type }) => type === "issuer")!.id;
  crlPath = `/crl/${issuerId}/full.crl`;
});
afterAll(() => app.close());

const bytesOf = async (response: Response) => new Uint8Array(await response.arrayBuffer());

/** A request whose base64 has all of +, / and =, by choice of the serial number. */
function awkwardRequest(): Uint8Array {
  const { certificate } = { certificate: parseCertificate(app.ca.authorityCertificate(issuerId)!) };
  for (let number = 0; ; number++) {
    const der = encodeSequence(encodeSequence(encodeSequence(encodeSequence(encodeSequence(
      encodeSequence(encodeOid(digestOid.sha1), encodeNull()), encodeOctetString(hash("sha1", certificate.subject, "buffer")),
      encodeOctetString(hash("sha1", keyBitsOf(certificate.spki), "buffer")), encodeUnsignedInteger(Buffer.from(`7f${number.toString(16).padStart(8, "0")}fbf3efff`, "hex")),
    )))));
    const text = Buffer.from(der).toString("base64");
    if (["+", "/", "="].every((character) => text.includes(character))) return der;
  }
}

describe("a CRL over HTTP", () => {
  test("is DER under its media type, kept by caches for minutes and never past its end", async () => {
    const response = await app.app.request(crlPath);
    expect(response.headers.get("content-type")).toBe("application/pkix-crl");
    const crl = parseCrl(await bytesOf(response));
    const [, maxAge] = /^public, max-age=(\d+), no-transform, must-revalidate$/.exec(response.headers.get("cache-control")!)!;
    expect(Number(maxAge)).toBe(300);
    expect(Date.parse(response.headers.get("expires")!)).toBe(crl.nextUpdateMs);
    expect(Date.parse(response.headers.get("last-modified")!)).toBe(crl.thisUpdateMs);
  });

  test("costs 304 when it is the same still", async () => {
    const etag = (await app.app.request(crlPath)).headers.get("etag")!;
    expect((await app.app.request(crlPath, { headers: { "if-none-match": etag } })).status).toBe(304);
    expect((await app.app.request(crlPath, { headers: { "if-none-match": '"other"' } })).status).toBe(200);
  });

  test("answers HEAD", async () => {
    const response = await app.app.request(crlPath, { method: "HEAD" });
    expect([response.status, response.headers.get("content-type"), (await bytesOf(response)).length]).toEqual([200, "application/pkix-crl", 0]);
  });

  test("that is none is 404, and nothing is signed for it", async () => {
    for (const path of [`/crl/${issuerId}/authorities.crl`, `/crl/${issuerId}/7-1.crl`, `/crl/${"0".repeat(40)}/full.crl`]) {
      expect((await app.call("GET", path)).problem.code).toBe("not_found");
    }
  });
});

test("the issuer's certificate is where certificates say it is", async () => {
  const response = await app.app.request(`/authority/${issuerId}.cer`);
  expect(response.headers.get("content-type")).toBe("application/pkix-cert");
  expect(Buffer.from(parseCertificate(await bytesOf(response)).subjectKeyIdentifier!).toString("hex")).toBe(issuerId);
  expect((await app.app.request(`/authority/${issuerId}.cer`, { headers: { "if-none-match": response.headers.get("etag")! } })).status).toBe(304);
  expect((await app.call("GET", `/authority/${issuerId}`)).status).toBe(404);
});

describe("OCSP over HTTP", () => {
  const post = (body: Uint8Array, contentType = "application/ocsp-request") =>
    app.app.request("/ocsp", { method: "POST", body: Uint8Array.from(body), headers: { "content-type": contentType } });

  test("POST is answered and kept by nobody", async () => {
    const response = await post(awkwardRequest());
    expect([response.status, response.headers.get("content-type"), response.headers.get("cache-control")]).toEqual([200, "application/ocsp-response", "no-store"]);
    expect((await bytesOf(response)).subarray(4, 7)).toEqual(Uint8Array.of(0x0a, 1, 0));
  });

  test("GET is answered whether or not the base64 was URL-encoded, and kept", async () => {
    const text = Buffer.from(awkwardRequest()).toString("base64");
    const encoded = await app.app.request(`/ocsp/${encodeURIComponent(text)}`);
    const plain = await app.app.request(`/ocsp/${text}`);
    expect(encoded.headers.get("cache-control")).toMatch(/^public, max-age=300,/);
    expect(await bytesOf(plain)).toEqual(await bytesOf(encoded));
    const again = await app.app.request(`/ocsp/${text}`, { headers: { "if-none-match": encoded.headers.get("etag")! } });
    expect(again.status).toBe(304);
  });

  test.each(["!", "%E0%A4%A", "MAo", "A".repeat(40_000)])("GET with %.20s is malformed, and not kept", async (text) => {
    const response = await app.app.request(`/ocsp/${text}`);
    expect([response.status, response.headers.get("cache-control")]).toEqual([200, "no-store"]);
    expect(await bytesOf(response)).toEqual(Uint8Array.of(0x30, 3, 0x0a, 1, 1));
  });

  test("a body of another kind or size is refused", async () => {
    expect((await post(awkwardRequest(), "application/json")).status).toBe(415);
    expect((await post(new Uint8Array(9000))).status).toBe(413);
    expect(await bytesOf(await post(new Uint8Array(5000)))).toEqual(Uint8Array.of(0x30, 3, 0x0a, 1, 1));
  });
});

test("the plain listener's app has these and nothing else", async () => {
  expect((await status.request(crlPath)).status).toBe(200);
  expect((await status.request(`/authority/${issuerId}.cer`)).status).toBe(200);
  for (const path of ["/v1/bundle", "/v1/revocations", "/healthz", "/metrics", "/docs", "/openapi.json", "/v1/certificates"]) {
    expect((await status.request(path)).status).toBe(404);
  }
});
