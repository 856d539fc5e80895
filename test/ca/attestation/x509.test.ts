import { describe, expect, test } from "vitest";
import { x509Verifier } from "../../../ca/attestation/x509.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodeRenewalProof, type ProofPurpose } from "../../../ca/pki/renewal-proof.ts";
import { attestorOf, factsToObject } from "../../support/attestor.ts";
import { basicConstraints, clientAuth, dns, email, extendedKeyUsage, keyUsage, name, serverAuth, testAuthority, testKey, testNowMs, type LeafOptions } from "../../support/test-ca.ts";
import { newCsr } from "../../support/running-ca.ts";

const old = testAuthority({ trustDomain: "old", spiffeId: null });
const issuer = old.issuer({ spiffeId: null });
const csr = newCsr();
const verify = x509Verifier(attestorOf("x509", { anchorsFile: "unused", spiffeId: "spiffe://east/old/{commonName}" }), { anchors: [parseCertificate(old.der)], trustDomain: "east", now: () => new Date(testNowMs) });
const leafOf = (options: LeafOptions = {}) => issuer.leaf({ subject: name("cart"), names: [dns("cart.old.example"), email("cart@old.example")], ...options });
const proofBy = (leaf = leafOf(), more: { purpose?: ProofPurpose; nowMs?: number; audience?: string; csr?: Uint8Array; privateKey?: typeof leaf.privateKey } = {}): string =>
  encodeRenewalProof({ chain: leaf.chain, privateKey: leaf.privateKey, csr: csr.der, audience: "east", nowMs: testNowMs, purpose: "attestation", ...more });
const refused = (why: RegExp) => expect.objectContaining({ code: "attestation_refused", message: expect.stringMatching(why) as string }) as Error;

describe("a proof by another PKI's certificate", () => {
  test("says what stands in the certificate", () => {
    const leaf = leafOf();
    const { facts, record } = verify(proofBy(leaf), csr.der);
    expect(factsToObject(facts)).toMatchObject({ commonName: "cart", dnsName: "cart.old.example", email: "cart@old.example", serialNumber: leaf.serialNumber });
    expect(record).toMatchObject({ serialNumber: leaf.serialNumber, anchor: parseCertificate(old.der).fingerprint });
  });

  test.each<[string, () => string, RegExp]>([
    ["below an anchor of nobody's", () => proofBy(testAuthority({ trustDomain: "old", spiffeId: null }).issuer().leaf()), /path|anchor|issuer/i],
    ["that is the certificate of a CA", () => proofBy(leafOf({ extensions: { basicConstraints: basicConstraints(true), keyUsage: keyUsage([0, 5]) } })), /a CA's/],
    ["whose key may sign certificates", () => proofBy(leafOf({ extensions: { keyUsage: keyUsage([0, 5]) } })), /a CA's|certificate/],
    ["whose key is not for signatures", () => proofBy(leafOf({ extensions: { keyUsage: keyUsage([2]) } })), /not for signatures/],
    ["that is for servers alone", () => proofBy(leafOf({ extensions: { extendedKeyUsage: extendedKeyUsage([serverAuth]) } })), /extended key usage/i],
    ["that has expired", () => proofBy(leafOf({ notAfterMs: testNowMs - 86_400_000 })), /expired/i],
    ["by another key than the certificate's", () => proofBy(leafOf(), { privateKey: testKey().privateKey }), /did not sign/],
    ["for another CSR", () => proofBy(leafOf(), { csr: newCsr().der }), /another CSR/],
    ["for another CA", () => proofBy(leafOf(), { audience: "west" }), /another trust domain/],
    ["an hour old", () => proofBy(leafOf(), { nowMs: testNowMs - 3_600_000 }), /more than 5 min/],
    ["an hour ahead", () => proofBy(leafOf(), { nowMs: testNowMs + 3_600_000 }), /more than 5 min/],
    ["for a renewal", () => proofBy(leafOf(), { purpose: "renewal" }), /header/],
    ["that is none", () => "hunter2", /JWS/],
  ])("%s is refused", (_claim, make, why) => {
    expect(() => verify(make(), csr.der)).toThrow(refused(why));
  });

  test("takes a certificate that is for clients alone, or for anything", () => {
    verify(proofBy(leafOf({ extensions: { extendedKeyUsage: extendedKeyUsage([clientAuth]) } })), csr.der);
    verify(proofBy(leafOf({ extensions: { extendedKeyUsage: null } })), csr.der);
  });
});
