import "reflect-metadata";
import fc from "fast-check";
import * as pkijs from "pkijs";
import { describe, expect, test } from "vitest";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodeCrl, encodeRevokedCertificate, encodeTbsCrl, type CrlFields } from "../../../ca/pki/crl-encoding.ts";
import { parseCrl, verifyCrl } from "../../../ca/pki/crl.ts";
import {
  encodeBoolean, encodeDer, encodeExplicit, encodeNull, encodeOctetString, encodeOid, encodeSequence, encodeSmallInteger, encodeTime,
} from "../../../ca/pki/der-encoding.ts";
import { context, tag } from "../../../ca/pki/der-tag.ts";
import { encodeSignatureAlgorithm, signatureAlgorithmFor, signData, type KeyAlgorithm } from "../../../ca/pki/key.ts";
import { extensionOid } from "../../../ca/pki/oid.ts";
import { reasonCodes, type CrlReason } from "../../../ca/pki/revocation-reason.ts";
import { outcomeOf } from "../../support/outcome.ts";
import { extension, keyUsage, testAuthority, testKey, testNowMs } from "../../support/test-ca.ts";

const east = testAuthority({ trustDomain: "east" });
const issuer = east.issuer();
const hourMs = 3_600_000;
const fields: CrlFields = {
  signatureAlgorithm: "ecdsa-sha256", issuer: issuer.subject, authorityKeyIdentifier: issuer.keyIdentifier, number: 7, thisUpdateMs: testNowMs, nextUpdateMs: testNowMs + hourMs,
  scope: { only: "end-entities" }, entries: [encodeRevokedCertificate("7f01", testNowMs - 1000, "keyCompromise"), encodeRevokedCertificate("ff02", testNowMs - 2000, "unspecified")],
};
const signed = (tbs: Uint8Array, by = issuer) => encodeCrl(tbs, "ecdsa-sha256", signData("ecdsa-sha256", by.privateKey, tbs));
const made = (change: Partial<CrlFields> = {}) => signed(encodeTbsCrl({ ...fields, ...change }));

describe("the encoder", () => {
  const reasons = Object.keys(reasonCodes).filter((reason) => reason !== "removeFromCRL" && reason !== "certificateHold") as CrlReason[];
  const entries = fc.array(fc.record({
    serialNumber: fc.uint8Array({ minLength: 1, maxLength: 16 }).filter(([first]) => first !== 0).map((bytes) => Buffer.from(bytes).toString("hex")),
    revokedAtMs: fc.integer({ min: Date.UTC(2020, 0), max: Date.UTC(2049, 0) }), reason: fc.constantFrom(...reasons),
  }), { maxLength: 5 });
  const scopes = fc.constantFrom({ only: "end-entities" }, { only: "authorities" }, { only: "end-entities", url: "http://status.east/crl/a/4-1.crl" } as const);

  test("writes what pkijs reads, and writes again byte for byte", () => {
    fc.assert(fc.property(entries, scopes, fc.maxSafeNat(), (list, scope, number) => {
      const tbs = encodeTbsCrl({ ...fields, number, scope: scope as CrlFields["scope"], entries: list.map((each) => encodeRevokedCertificate(each.serialNumber, each.revokedAtMs, each.reason)) });
      const der = signed(tbs);
      const oracle = pkijs.CertificateRevocationList.fromBER(Uint8Array.from(der));
      expect(Buffer.from(oracle.toSchema(true).toBER()).toString("hex")).toBe(Buffer.from(der).toString("hex"));
      expect(oracle.version).toBe(1);
      expect((oracle.revokedCertificates ?? []).map((each) => [Buffer.from(each.userCertificate.valueBlock.valueHexView).toString("hex").replace(/^00/, ""), each.revocationDate.value.getTime()]))
        .toEqual(list.map((each) => [each.serialNumber, Math.floor(each.revokedAtMs / 1000) * 1000]));
      const point = oracle.crlExtensions!.extensions.find(({ extnID }) => extnID === extensionOid.issuingDistributionPoint)!;
      expect(point.critical).toBe(true);
      expect(point.parsedValue).toMatchObject({ onlyContainsUserCerts: scope.only === "end-entities", onlyContainsCACerts: scope.only === "authorities" });
    }), { numRuns: 200 });
  });

  test("writes what the parser reads back", () => {
    fc.assert(fc.property(entries, scopes, (list, scope) => {
      fc.pre(new Set(list.map(({ serialNumber }) => serialNumber)).size === list.length);
      const crl = parseCrl(made({ scope: scope as CrlFields["scope"], entries: list.map((each) => encodeRevokedCertificate(each.serialNumber, each.revokedAtMs, each.reason)) }));
      expect([...crl.entries.values()]).toEqual(list.map((each) => ({ ...each, revokedAtMs: Math.floor(each.revokedAtMs / 1000) * 1000 })));
      expect(crl.scope.urls).toEqual("url" in scope ? [scope.url] : []);
      expect(crl).toMatchObject({ number: 7n, thisUpdateMs: testNowMs, nextUpdateMs: testNowMs + hourMs });
    }), { numRuns: 100 });
  });

  // CRL-03, CRL-07: written down from the ASN.1 of RFC 5280 5.3.1, not taken from the output.
  test("leaves out the list when nothing is revoked, and a reason that says nothing", () => {
    expect(parseCrl(made({ entries: [] })).revokedCertificates).toBeUndefined();
    expect(Buffer.from(encodeRevokedCertificate("ff02", 0, "unspecified")).toString("hex")).toBe(`3014 020300ff02 170d ${Buffer.from("700101000000Z").toString("hex")}`.replaceAll(" ", ""));
    expect(Buffer.from(encodeRevokedCertificate("01", 0, "superseded")).toString("hex"))
      .toBe(`3020 020101 170d ${Buffer.from("700101000000Z").toString("hex")} 300c 300a 0603551d15 0403 0a0104`.replaceAll(" ", ""));
  });

  test.each<[KeyAlgorithm, "ec-p384" | "ed25519" | "rsa-2048"]>([["ec-p384", "ec-p384"], ["ed25519", "ed25519"], ["rsa-2048", "rsa-2048"]])("signs with a key of %s", (keyAlgorithm, keyKind) => {
    const other = east.issuer({ keyKind });
    const signatureAlgorithm = signatureAlgorithmFor(keyAlgorithm);
    const tbs = encodeTbsCrl({ ...fields, signatureAlgorithm, issuer: other.subject, authorityKeyIdentifier: other.keyIdentifier });
    verifyCrl(parseCrl(encodeCrl(tbs, signatureAlgorithm, signData(signatureAlgorithm, other.privateKey, tbs))), { issuer: parseCertificate(other.der), nowMs: testNowMs, of: "end-entities" });
  });

  test("does not write one that ends before it begins", () => {
    expect(() => encodeTbsCrl({ ...fields, nextUpdateMs: testNowMs })).toThrow(RangeError);
  });
});

describe("a CRL is refused", () => {
  const algorithm = encodeSignatureAlgorithm("ecdsa-sha256");
  const authorityKeyIdentifier = extension(extensionOid.authorityKeyIdentifier, false, encodeSequence(encodeDer(context(0), issuer.keyIdentifier)));
  const number = extension(extensionOid.crlNumber, false, encodeSmallInteger(7));
  const point = (...content: Uint8Array[]) => extension(extensionOid.issuingDistributionPoint, true, encodeSequence(...content));
  const yes = Uint8Array.of(0xff);
  const tbsOf = ({ version = encodeSmallInteger(1), times = [encodeTime(testNowMs), encodeTime(testNowMs + hourMs)], list = [] as Uint8Array[], extensions = [authorityKeyIdentifier, number] }) =>
    signed(encodeSequence(version, algorithm, issuer.subject, ...times, ...list, encodeExplicit(0, encodeSequence(...extensions))));
  const entry = (...extensions: Uint8Array[]) =>
    [encodeSequence(encodeSequence(encodeSmallInteger(1), encodeTime(testNowMs), ...(extensions.length === 0 ? [] : [encodeSequence(...extensions)])))];
  const reason = (code: number, critical = false) => entry(extension(extensionOid.reasonCode, critical, encodeDer(tag.enumerated, Uint8Array.of(code))));

  test("not when there is nothing wrong with it", () => {
    expect(outcomeOf(() => parseCrl(tbsOf({ list: reason(1), extensions: [authorityKeyIdentifier, number, point(encodeDer(context(1), yes))] })))).toBe("accepted");
  });

  test.each<[string, () => Uint8Array, string]>([
    ["CRL-01: version 1", () => tbsOf({ version: encodeSmallInteger(0) }), "crl_malformed"],
    ["CRL-01: another algorithm outside", () => encodeCrl(encodeTbsCrl(fields), "ecdsa-sha384", new Uint8Array(70)), "crl_malformed"],
    ["CRL-02: without nextUpdate", () => tbsOf({ times: [encodeTime(testNowMs)] }), "crl_malformed"],
    ["CRL-03: an empty list", () => tbsOf({ list: [encodeSequence()] }), "crl_malformed"],
    ["CRL-04: without a number", () => tbsOf({ extensions: [authorityKeyIdentifier] }), "crl_malformed"],
    ["CRL-04: without a key identifier", () => tbsOf({ extensions: [number] }), "crl_malformed"],
    ["CRL-05: a negative number", () => tbsOf({ extensions: [authorityKeyIdentifier, extension(extensionOid.crlNumber, false, encodeDer(tag.integer, yes))] }), "crl_malformed"],
    ["CRL-05: a number of 21 octets", () => tbsOf({ extensions: [authorityKeyIdentifier, extension(extensionOid.crlNumber, false, encodeDer(tag.integer, new Uint8Array(21).fill(1)))] }), "crl_malformed"],
    ["CRL-06: a serial number twice", () => made({ entries: [fields.entries[0]!, fields.entries[0]!] }), "crl_malformed"],
    ["CRL-07: reason 7", () => tbsOf({ list: reason(7) }), "crl_malformed"],
    ["CRL-07: reason 8 outside a delta", () => tbsOf({ list: reason(8) }), "crl_malformed"],
    ["CRL-07: a critical reason", () => tbsOf({ list: reason(1, true) }), "crl_malformed"],
    ["CRL-08: an entry of another issuer", () => tbsOf({ list: entry(extension(extensionOid.certificateIssuer, true, encodeNull())) }), "crl_unsupported"],
    ["CRL-09: a point that is not critical", () => tbsOf({ extensions: [authorityKeyIdentifier, number, extension(extensionOid.issuingDistributionPoint, false, encodeSequence(encodeDer(context(1), yes)))] }), "crl_malformed"],
    ["CRL-09: an empty point", () => tbsOf({ extensions: [authorityKeyIdentifier, number, point()] }), "crl_malformed"],
    ["CRL-09: about both kinds", () => tbsOf({ extensions: [authorityKeyIdentifier, number, point(encodeDer(context(1), yes), encodeDer(context(2), yes))] }), "crl_malformed"],
    ["CRL-09: FALSE spelled out", () => tbsOf({ extensions: [authorityKeyIdentifier, number, point(encodeDer(context(1), Uint8Array.of(0)))] }), "crl_malformed"],
    ["for some reasons only", () => tbsOf({ extensions: [authorityKeyIdentifier, number, point(encodeDer(context(3), Uint8Array.of(6, 0x40)))] }), "crl_unsupported"],
    ["an indirect one", () => tbsOf({ extensions: [authorityKeyIdentifier, number, point(encodeDer(context(4), yes))] }), "crl_unsupported"],
    ["CRL-11: a delta", () => tbsOf({ extensions: [authorityKeyIdentifier, number, extension(extensionOid.deltaCrlIndicator, true, encodeSmallInteger(1))] }), "crl_unsupported"],
    ["an extension twice", () => tbsOf({ extensions: [authorityKeyIdentifier, number, number] }), "crl_malformed"],
    ["critical FALSE spelled out", () => tbsOf({ extensions: [authorityKeyIdentifier, number, encodeSequence(encodeOid("1.2.3"), encodeBoolean(false), encodeOctetString(yes))] }), "crl_malformed"],
    ["bytes behind", () => Buffer.concat([made(), yes]), "der_malformed"],
  ])("%s", (_, der, code) => {
    expect(outcomeOf(() => parseCrl(der()))).toBe(code);
  });
});

describe("a CRL does not count", () => {
  const check = { issuer: parseCertificate(issuer.der), nowMs: testNowMs, of: "end-entities" } as const;
  const url = "http://status.east/crl/a/4-1.crl";
  const otherKey = testKey();
  test.each<[string, () => Uint8Array, object, string]>([
    ["of another issuer", () => made({ issuer: east.subject }), {}, "crl_issuer_mismatch"],
    ["by another key of that name", () => made({ authorityKeyIdentifier: new Uint8Array(20) }), {}, "crl_issuer_mismatch"],
    ["that somebody else signed", () => signed(encodeTbsCrl(fields), { ...issuer, privateKey: otherKey.privateKey }), {}, "crl_signature_invalid"],
    ["from the future", () => made(), { nowMs: testNowMs - 1 }, "crl_not_yet_valid"],
    ["that is over", () => made(), { nowMs: testNowMs + hourMs }, "crl_expired"],
    ["about authorities, for an end entity", () => made({ scope: { only: "authorities" } }), {}, "crl_scope_mismatch"],
    ["about end entities, for an authority", () => made(), { of: "authorities" }, "crl_scope_mismatch"],
    ["of another shard", () => made({ scope: { only: "end-entities", url } }), { url: `${url}x` }, "crl_scope_mismatch"],
    ["of a shard, for a certificate that names none", () => made({ scope: { only: "end-entities", url } }), {}, "crl_scope_mismatch"],
  ])("%s", (_, der, change, code) => {
    expect(outcomeOf(() => verifyCrl(parseCrl(der()), { ...check, ...change }))).toBe(code);
  });

  test("by an issuer that may not sign CRLs", () => {
    const silent = east.issuer({ extensions: { keyUsage: keyUsage([5]) } });
    const tbs = encodeTbsCrl({ ...fields, issuer: silent.subject, authorityKeyIdentifier: silent.keyIdentifier });
    expect(outcomeOf(() => verifyCrl(parseCrl(signed(tbs, silent)), { ...check, issuer: parseCertificate(silent.der) }))).toBe("crl_signer_key_usage");
  });

  test("but one does with nothing wrong, of its shard too", () => {
    expect(outcomeOf(() => verifyCrl(parseCrl(made()), check))).toBe("accepted");
    expect(outcomeOf(() => verifyCrl(parseCrl(made({ scope: { only: "end-entities", url } })), { ...check, url }))).toBe("accepted");
  });
});
