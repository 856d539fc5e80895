import { describe, expect, test } from "vitest";
import { issuerObtainer, readIssued } from "../../../ca/upstream/obtain-issuer.ts";
import { UpstreamError } from "../../../ca/upstream/errors.ts";
import type { IssueIssuerRequest } from "../../../ca/contract/issuers.ts";
import type { Parent, UpstreamIdentity } from "../../../ca/upstream/parent.ts";
import { basicConstraints, subjectAltName, testAuthority, testKey, testNowMs, uri } from "../../support/test-ca.ts";

const root = testAuthority({ trustDomain: "root" });
const key = testKey();
const west = { spiffeId: "spiffe://west", key, pathLength: 0 };
const read = (chain: string, nowMs = testNowMs) => readIssued({ chain }, "west", key.privateKey, nowMs);

describe("what the CA above signed", () => {
  test("is taken when it is for our key and our trust domain, with what stands above it", () => {
    expect(read(root.issuer(west).pem)).toMatchObject({ above: [] });
    const intermediate = root.issuer({ commonName: "intermediate" });
    expect(read(intermediate.issuer(west).pem + intermediate.pem).above).toHaveLength(1);
  });

  test.each([
    ["nothing", () => "", /begin|no |has 0/i],
    ["an issuer for another key", () => root.issuer({ ...west, key: testKey() }).pem, /another key/],
    ["an issuer for another trust domain", () => root.issuer({ ...west, spiffeId: "spiffe://east" }).pem, /names spiffe:\/\/east, and this is west/],
    ["an issuer for a second one as well", () => root.issuer({ ...west, extensions: { subjectAltName: subjectAltName([uri("spiffe://west"), uri("spiffe://east")]) } }).pem, /names spiffe:\/\/west, spiffe:\/\/east/],
    ["an issuer without a trust domain", () => root.issuer({ ...west, spiffeId: null }).pem, /names no trust domain/],
    ["a certificate of no CA", () => root.issuer({ ...west, extensions: { basicConstraints: basicConstraints(false) } }).pem, /no CA certificate/],
    ["an issuer of the future", () => root.issuer({ ...west, notBeforeMs: testNowMs + 60_000 }).pem, /one of the two clocks is wrong/],
    ["a chain that is too long", () => root.issuer(west).pem + root.issuer({}).pem + root.pem, /3 certificates/],
    ["something else", () => "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", /cannot be read/],
  ])("is not taken when it is %s", (_what, chain, why) => {
    expect(() => read(chain())).toThrow(why);
    expect(() => read(chain())).toThrow(UpstreamError);
  });
});

test("a request whose answer was lost is repeated as it was, and one that was declined is not", async () => {
  const asked: { readonly request: IssueIssuerRequest; readonly idempotencyKey: string }[] = [];
  const outcomes = [new UpstreamError("upstream_unreachable", "lost"), new UpstreamError("upstream_refused", "no", { status: 503 }), new UpstreamError("upstream_refused", "no", { status: 403 }), new UpstreamError("upstream_unreachable", "")];
  const parent = {
    async signIssuer(request: IssueIssuerRequest, _identity: UpstreamIdentity, idempotencyKey: string) {
      asked.push({ request, idempotencyKey });
      throw outcomes[asked.length - 1];
    },
  } as unknown as Parent;
  const obtain = issuerObtainer({ trustDomain: "west", keyAlgorithm: "ec-p256", issuerLifetimeMs: 604_800_000 });
  for (const outcome of outcomes) await expect(obtain(parent, {} as UpstreamIdentity, testNowMs)).rejects.toBe(outcome);
  expect(asked.map(({ request, idempotencyKey }) => asked.findIndex((one) => one.request.csr === request.csr && one.idempotencyKey === idempotencyKey))).toEqual([0, 0, 0, 3]);
  expect(asked[0]!.request).toMatchObject({ profile: "countersign", trustDomain: "west", lifetimeSeconds: 604_800 });
});
