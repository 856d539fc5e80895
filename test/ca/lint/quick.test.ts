import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lintFailures } from "../../../ca/lint/certificate.ts";
import type { CertificateContext } from "../../../ca/lint/certificate-context.ts";
import { quickVerdict, type QuickContent } from "../../../ca/lint/quick.ts";
import { parseIpRange } from "../../../ca/pki/ip-address.ts";
import { subjectKeyIdentifier } from "../../../ca/pki/key.ts";
import { compileTemplate, emptyName, encodeTbs, type WorkloadFields } from "../../../ca/pki/tbs.ts";
import { hourMs, leaf, leafContext, leafIssuer, limits, newSpki, nowMs } from "./made-of-parts.ts";

const context = { ...leafContext, issuer: leafIssuer };
const template = {
  signatureAlgorithm: context.signatureAlgorithm, issuer: leafIssuer.subject, authorityKeyIdentifier: leafIssuer.subjectKeyIdentifier!,
  basicConstraints: { certificateAuthority: false }, keyUsage: ["digitalSignature"], extKeyUsage: ["serverAuth", "clientAuth"],
} as const;
const encode = compileTemplate(template);
const content = (change: Partial<WorkloadFields> = {}): WorkloadFields => ({
  serialNumber: new Uint8Array(18).fill(0x41), notBeforeMs: nowMs - 20_000, notAfterMs: nowMs + 24 * hourMs - 1000, spki: leaf.spki,
  subjectKeyIdentifier: subjectKeyIdentifier(leaf.spki), uri: "spiffe://east/ns/shop/sa/cart", dnsNames: ["cart.shop.svc"], ...change,
});
const encodeWithIps = ({ uri, dnsNames, subjectKeyIdentifier: keyIdentifier, ipAddresses = [], ...rest }: QuickContent): Uint8Array => encodeTbs({
  ...rest, signatureAlgorithm: template.signatureAlgorithm, issuer: template.issuer, subject: emptyName,
  extensions: { ...template, subjectKeyIdentifier: keyIdentifier, subjectAltName: { uris: [uri], dnsNames, ipAddresses } },
});
const meant = ({ uri, ipAddresses = [], ...rest }: QuickContent): CertificateContext => ({
  ...context, meant: { ...rest, uris: [uri], ipAddresses, keyUsage: template.keyUsage, extKeyUsage: template.extKeyUsage, revocationInfo: {} },
});
const judge = quickVerdict(encode(content()), context);

describe("the quick verdict", () => {
  test("lets through what differs only in what may differ", () => {
    const spki = newSpki();
    const other = content({ serialNumber: new Uint8Array(18).fill(0x11), notAfterMs: nowMs, spki, subjectKeyIdentifier: subjectKeyIdentifier(spki), uri: "spiffe://east/a", dnsNames: [] });
    expect(judge(encode(other), other)).toBe(true);
    const withIp = { ...content(), ipAddresses: [Uint8Array.of(10, 0, 0, 1)] };
    expect(judge(encodeWithIps(withIp), withIp)).toBe(true);
  });

  test("is never sure of bytes with any octet changed", () => {
    const good = content();
    const tbs = encode(good);
    for (let index = 0; index < tbs.length; index++) {
      for (const flip of [0x01, 0x80, 0xff]) expect(judge(tbs.with(index, tbs[index]! ^ flip), good)).toBe(false);
    }
    expect(judge(tbs.subarray(0, -1), good)).toBe(false);
    expect(judge(Uint8Array.of(...tbs, 0), good)).toBe(false);
  });

  test("is not sure of a serial number that is negative or has a zero too many, though it is the one that was meant", () => {
    const { serialNumber } = content();
    const tbs = encode(content());
    const at = Buffer.from(tbs).indexOf(serialNumber);
    for (const first of [0xc1, 0x00]) expect(judge(tbs.with(at, first), content({ serialNumber: serialNumber.with(0, first) }))).toBe(false);
    expect(judge(tbs.with(at, 0x42), content({ serialNumber: serialNumber.with(0, 0x42) }))).toBe(true);
  });

  test.each([
    ["a short serial number", { serialNumber: new Uint8Array(8).fill(1) }],
    ["a serial number with a leading zero", { serialNumber: Uint8Array.of(0, ...new Uint8Array(17).fill(1)) }],
    ["a longer life than the profile's", { notAfterMs: nowMs + 24 * hourMs }],
    ["an end after the issuer's", { notBeforeMs: nowMs + 30 * hourMs, notAfterMs: nowMs + 49 * hourMs }],
    ["a beginning before the issuer's", { notBeforeMs: nowMs - 2 * hourMs, notAfterMs: nowMs }],
    ["fractions of a second", { notAfterMs: nowMs + 1 }],
    ["the issuer's key", { spki: leafIssuer.spki }],
    ["an ID of another trust domain", { uri: "spiffe://west/a" }],
    ["an ID of a trust domain that begins alike", { uri: "spiffe://east.evil/a" }],
    ["an ID without a path", { uri: "spiffe://east" }],
    ["an ID with a dot segment", { uri: "spiffe://east/a/../b" }],
    ["a wildcard", { dnsNames: ["*.shop.svc"] }],
    ["a null octet in a name", { dnsNames: ["cart\0.evil"] }],
    ["a key identifier of another length", { subjectKeyIdentifier: new Uint8Array(8) }],
  ] as const)("is not sure of %s", (_claim, change) => {
    const wrong = content(change);
    expect(judge(encode(wrong), wrong)).toBe(false);
  });

  test("is not sure of names outside what the profile permits", () => {
    const strict = quickVerdict(encode(content()), { ...context, limits: { ...limits, names: { dnsNames: ["*.shop.svc"], ipRanges: [parseIpRange("10.0.0.0/8")] } } });
    const verdict = (dnsNames: string[], address: Uint8Array): boolean => {
      const wanted = { ...content({ dnsNames }), ipAddresses: [address] };
      return strict(encodeWithIps(wanted), wanted);
    };
    expect(verdict(["cart.shop.svc"], Uint8Array.of(10, 1, 2, 3))).toBe(true);
    expect(verdict(["cart.db.svc"], Uint8Array.of(10, 1, 2, 3))).toBe(false);
    expect(verdict(["cart.shop.svc"], Uint8Array.of(11, 1, 2, 3))).toBe(false);
  });

  test("agrees with all the rules wherever it is sure", () => {
    const name = fc.stringMatching(/^[a-z0-9*.\0-]{1,12}$/);
    const wanted = fc.record({
      serialNumber: fc.oneof({ weight: 4, arbitrary: fc.uint8Array({ minLength: 18, maxLength: 18 }) }, fc.uint8Array({ minLength: 17, maxLength: 19 })),
      notBeforeMs: fc.integer({ min: -2, max: 26 }).map((hours) => nowMs + hours * hourMs),
      notAfterMs: fc.integer({ min: 20, max: 50 }).map((hours) => nowMs + hours * hourMs - 1000),
      uri: fc.oneof(fc.constantFrom("spiffe://east/ns/a", "spiffe://east", "spiffe://west/a", "spiffe://east/./a"), name.map((path) => `spiffe://east/${path}`)),
      dnsNames: fc.array(fc.oneof({ weight: 3, arbitrary: fc.constant("cart.shop.svc") }, name), { maxLength: 2 }),
    });
    let sure = 0;
    fc.assert(fc.property(wanted, (change) => {
      const asked = content(change);
      let tbs: Uint8Array;
      try {
        tbs = encode(asked);
      } catch {
        return;
      }
      if (!judge(tbs, asked)) return;
      sure += 1;
      expect(lintFailures(tbs, meant(asked))).toEqual([]);
    }), { numRuns: 1500 });
    expect(sure).toBeGreaterThan(20);
  });
});
