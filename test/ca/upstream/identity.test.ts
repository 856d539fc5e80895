import { createPublicKey } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import type { IssueRequest } from "../../../ca/contract/certificates.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { parseCsr } from "../../../ca/pki/csr.ts";
import { parseRenewalProof, verifyRenewalProof } from "../../../ca/pki/renewal-proof.ts";
import { UpstreamError } from "../../../ca/upstream/errors.ts";
import { identityKeeper } from "../../../ca/upstream/identity.ts";
import type { HeldMembership, Membership } from "../../../ca/upstream/membership.ts";
import type { Parent } from "../../../ca/upstream/parent.ts";
import { testAuthority, testNowMs, type LeafOptions } from "../../support/test-ca.ts";

const root = testAuthority({ trustDomain: "root.example" });
const stranger = testAuthority({ trustDomain: "root.example" });
const hourMs = 3_600_000;
let nowMs: number;
let kept: Membership;
let asked: { readonly request: IssueRequest; readonly idempotencyKey: string }[];
let answer: (request: IssueRequest) => string | UpstreamError;

beforeEach(() => {
  nowMs = testNowMs;
  kept = { url: "https://root.example", parentTrustDomain: "root.example", rootFingerprint: "", tls: "spiffe", token: "token" };
  asked = [];
  answer = (request) => certificateFor(request);
});

/** As the parent would certify the request's key. */
function certificateFor({ csr }: IssueRequest, more: LeafOptions = {}, by = root): string {
  const publicKey = createPublicKey({ key: Buffer.from(parseCsr(Buffer.from(csr, "base64")).spki), format: "der", type: "spki" });
  return by.leaf({ key: { publicKey, privateKey: by.privateKey, kind: "ec-p256" }, spiffeId: "spiffe://root.example/cluster/west", notBeforeMs: nowMs, notAfterMs: nowMs + 24 * hourMs, ...more }).chainPem;
}

const held = (): HeldMembership => ({ membership: kept, body: JSON.stringify(kept) });
function keeper() {
  const parent = {
    trustDomain: "root.example",
    async certify(request: IssueRequest, idempotencyKey: string) {
      asked.push({ request, idempotencyKey });
      const said = answer(request);
      if (said instanceof UpstreamError) throw said;
      return { chain: said, spiffeId: "", notAfter: "" };
    },
  } as unknown as Parent;
  return identityKeeper({
    memberships: {
      open: async () => held(),
      async swap(next, before) {
        if (before?.body === JSON.stringify(kept)) kept = next;
        return held();
      },
    },
    parent: () => parent, anchors: () => [parseCertificate(root.der)], holds: () => undefined, log: { info: () => undefined, warn: () => undefined, error: () => undefined }, now: () => new Date(nowMs),
  });
}

test("the key and its request are kept before they are sent, and what was lost is asked for again unchanged", async () => {
  answer = () => {
    expect(kept.request?.csr).toBe(asked.at(-1)!.request.csr);
    return new UpstreamError("upstream_unreachable", "lost");
  };
  await expect(keeper().current()).rejects.toMatchObject({ code: "upstream_unreachable" });
  answer = certificateFor;
  // Another process, as after a crash.
  await keeper().current();
  expect(asked[1]).toEqual(asked[0]);
  expect([kept.request, kept.identity?.chain]).toEqual([undefined, expect.stringContaining("BEGIN CERTIFICATE")]);
});

test("what is declined is not asked for again with the same key", async () => {
  answer = () => new UpstreamError("upstream_refused", "no", { status: 403 });
  for (let attempt = 0; attempt < 2; attempt++) await expect(keeper().current()).rejects.toMatchObject({ code: "upstream_refused" });
  expect(asked[1]!.request.csr).not.toBe(asked[0]!.request.csr);
});

test("it is renewed at half of its life by its own key, and once it has expired by the token and that key; while it is valid a failure is waited out", async () => {
  const keys = keeper();
  const first = await keys.current();
  nowMs += 11 * hourMs;
  expect((await keys.current()).serialNumber).toBe(first.serialNumber);
  nowMs += 2 * hourMs;
  answer = () => new UpstreamError("upstream_unreachable", "away");
  expect((await keys.current()).serialNumber).toBe(first.serialNumber);
  const { attestation } = asked.at(-1)!.request;
  expect(attestation.type).toBe("svid");
  const proof = "proof" in attestation ? attestation.proof ?? "" : "";
  expect(() => verifyRenewalProof(parseRenewalProof(proof), parseCertificate(first.chain[0]!).publicKey, Buffer.from(asked.at(-1)!.request.csr, "base64"), "root.example")).not.toThrow();
  nowMs += 12 * hourMs;
  await expect(keys.current()).rejects.toMatchObject({ code: "upstream_unreachable" });
  expect(asked.at(-1)!.request.attestation).toMatchObject({ type: "join-token", token: "token", proof: expect.any(String) });
  answer = certificateFor;
  expect((await keys.current()).serialNumber).not.toBe(first.serialNumber);
});

describe("an answer is not taken", () => {
  test.each([
    ["for another key", () => root.leaf({ spiffeId: "spiffe://root.example/cluster/west", notBeforeMs: testNowMs, notAfterMs: testNowMs + hourMs }).chainPem, /another key/],
    ["below another root", (request: IssueRequest) => certificateFor(request, {}, stranger), /does not hold/],
    ["of another trust domain", (request: IssueRequest) => certificateFor(request, { spiffeId: "spiffe://west.example/x" }), /does not hold/],
    ["of the future", (request: IssueRequest) => certificateFor(request, { notBeforeMs: testNowMs + hourMs }), /compare the clocks/],
  ] as const)("%s", async (_what, make, why) => {
    answer = make;
    await expect(keeper().current()).rejects.toThrow(why);
    expect(kept.identity).toBeUndefined();
  });
});
