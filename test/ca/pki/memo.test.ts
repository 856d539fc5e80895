import { describe, expect, test } from "vitest";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { verificationMemo } from "../../../ca/pki/memo.ts";
import { validatePath } from "../../../ca/pki/path.ts";
import { verifySvid } from "../../../ca/pki/svid.ts";
import { outcomeOf } from "../../support/outcome.ts";
import { testAuthority, testNowMs } from "../../support/test-ca.ts";

const root = testAuthority({ trustDomain: "east" });
const issuer = root.issuer();
const [anchor, intermediate] = [parseCertificate(root.der), parseCertificate(issuer.der)];
const noSignatures = { signatureChecks: 0, candidates: 100, nameComparisons: 0 };

function warmed(leafDer: Uint8Array, maxCertificates?: number) {
  const memo = verificationMemo(maxCertificates);
  const leaf = parseCertificate(leafDer);
  validatePath({ leaf, intermediates: [intermediate], anchors: [anchor], nowMs: testNowMs, memo });
  return { memo, leaf };
}

describe("a memo", () => {
  test("spares the signatures of a path seen before", () => {
    const { memo, leaf } = warmed(issuer.leaf().der);
    const again = { leaf, intermediates: [intermediate], anchors: [anchor], nowMs: testNowMs, budget: noSignatures };
    expect(outcomeOf(() => validatePath(again))).toBe("path_budget_exceeded");
    expect(outcomeOf(() => validatePath({ ...again, memo }))).toBe("accepted");
  });

  test("spares those of the issuers when only the leaf is new", () => {
    const { memo } = warmed(issuer.leaf().der);
    const fresh = { leaf: parseCertificate(issuer.leaf().der), intermediates: [intermediate], anchors: [anchor], nowMs: testNowMs, memo };
    expect(outcomeOf(() => validatePath({ ...fresh, budget: { ...noSignatures, signatureChecks: 1 } }))).toBe("accepted");
  });

  test("knows nothing of a leaf with the same bytes but for its signature", () => {
    const { memo, leaf } = warmed(issuer.leaf().der);
    const altered = Buffer.from(leaf.der);
    altered[altered.length - 1]! ^= 1;
    expect(memo.recall(altered)).toBeUndefined();
    const forged = { leaf: parseCertificate(altered), intermediates: [intermediate], anchors: [anchor], nowMs: testNowMs, memo };
    expect(outcomeOf(() => validatePath(forged))).toBe("path_signature_invalid");
  });

  test("does not let one issuer's signature count as another's", () => {
    const { memo, leaf } = warmed(issuer.leaf().der);
    const twin = parseCertificate(root.issuer().der);
    expect(memo.knowsSignature(intermediate, leaf)).toBe(true);
    expect(memo.knowsSignature(twin, leaf)).toBe(false);
    expect(memo.knowsSignature(leaf, intermediate)).toBe(false);
  });

  test("takes in nothing of a path that was refused", () => {
    const memo = verificationMemo();
    const leaf = parseCertificate(issuer.leaf({ notAfterMs: testNowMs - 1000 }).der);
    expect(outcomeOf(() => validatePath({ leaf, intermediates: [intermediate], anchors: [anchor], nowMs: testNowMs, memo }))).toBe("path_expired");
    expect(outcomeOf(() => validatePath({ leaf: parseCertificate(issuer.leaf().der), intermediates: [intermediate], anchors: [], nowMs: testNowMs, memo })))
      .toBe("path_not_found");
    expect([leaf, intermediate].map(({ der }) => memo.recall(der))).toEqual([undefined, undefined]);
  });

  test("holds no more than it is allowed to, the newest", () => {
    const { memo, leaf } = warmed(issuer.leaf().der, 3);
    const next = warmedInto(memo);
    expect(memo.recall(leaf.der)).toBeUndefined();
    expect(memo.recall(next)).toBeDefined();
  });

  test("holds eight issuers of a certificate, which is more than cross-certification makes", () => {
    const memo = verificationMemo();
    const leaf = parseCertificate(issuer.leaf().der);
    const issuers = Array.from({ length: 9 }, () => parseCertificate(root.issuer().der));
    for (const each of issuers) memo.remember([leaf, each]);
    expect(issuers.map((each) => memo.knowsSignature(each, leaf))).toEqual([...Array<boolean>(8).fill(true), false]);
  });

  function warmedInto(memo: ReturnType<typeof verificationMemo>): Uint8Array {
    const { der } = issuer.leaf();
    validatePath({ leaf: parseCertificate(der), intermediates: [intermediate], anchors: [anchor], nowMs: testNowMs, memo });
    return der;
  }
});

describe("an SVID that the memo knows is refused all the same", () => {
  const leaf = issuer.leaf({ notAfterMs: testNowMs + 1000 });
  const memo = verificationMemo();
  const bundles = root.bundles();
  const request = { chain: leaf.chain, bundles, nowMs: testNowMs, purpose: "client", memo } as const;

  test("first it is accepted, twice", () => {
    expect(outcomeOf(() => verifySvid(request))).toBe("accepted");
    expect(memo.recall(leaf.der)).toBeDefined();
    expect(outcomeOf(() => verifySvid(request))).toBe("accepted");
  });

  test("when its time is over", () => {
    expect(outcomeOf(() => verifySvid({ ...request, nowMs: testNowMs + 2000 }))).toBe("path_expired");
  });

  test("when its anchor has left the bundle", () => {
    const replaced = new Map([["east", testAuthority({ trustDomain: "east" }).bundle()]]);
    expect(outcomeOf(() => verifySvid({ ...request, bundles: replaced }))).toBe("path_key_identifier_mismatch");
  });

  test("when its trust domain is no longer known", () => {
    expect(outcomeOf(() => verifySvid({ ...request, bundles: new Map() }))).toBe("svid_trust_domain_unknown");
  });

  test("when its issuer does not come along", () => {
    expect(outcomeOf(() => verifySvid({ ...request, chain: [leaf.der] }))).toBe("path_not_found");
  });
});
