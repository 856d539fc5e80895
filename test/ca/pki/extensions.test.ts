import { describe, expect, test } from "vitest";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import {
  encodeBoolean, encodeDer, encodeNamedBits, encodeNull, encodeOctetString, encodeOid, encodeSequence, encodeSmallInteger,
} from "../../../ca/pki/der-encoding.ts";
import { context, contextConstructed, tag } from "../../../ca/pki/der-tag.ts";
import { outcomeOf } from "../../support/outcome.ts";
import {
  authorityKeyIdentifier, basicConstraints, directoryName, dns, extension, keyUsage, name, nameConstraints, subjectAltName,
  subjectKeyIdentifier, testAuthority, type ExtensionName,
} from "../../support/test-ca.ts";

const root = testAuthority({ trustDomain: "east" });
/** The same extension in a CA certificate, where all of them may stand. */
const withExtension = (which: ExtensionName, encoded: Uint8Array) =>
  outcomeOf(() => parseCertificate(root.issuer({ extensions: { [which]: encoded } }).der));
const keyUsageBits = (...content: number[]) => extension("2.5.29.15", true, encodeDer(tag.bitString, Uint8Array.from(content)));
const basicConstraintsOf = (...content: Uint8Array[]) => extension("2.5.29.19", true, encodeSequence(...content));
const authorityKeyIdentifierOf = (...content: Uint8Array[]) => extension("2.5.29.35", false, encodeSequence(...content));
const subtreesOf = (...content: Uint8Array[]) => extension("2.5.29.30", true, encodeSequence(...content));
const keyIdentifier = encodeDer(context(0), Uint8Array.of(1));
const issuerNames = encodeDer(contextConstructed(1), directoryName(name("root")));
const serialNumber = encodeDer(context(2), Uint8Array.of(1));

describe("extensions are refused", () => {
  test.each<[string, ExtensionName, Uint8Array]>([
    ["CERT-24: critical FALSE spelled out", "keyUsage",
      encodeSequence(encodeOid("2.5.29.15"), encodeBoolean(false), encodeOctetString(encodeNamedBits([5])))],
    ["CERT-11: key usage without a bit", "keyUsage", keyUsage([])],
    ["CERT-11: key usage with a trailing zero bit", "keyUsage", keyUsageBits(0, 0x04)],
    ["CERT-11: key usage with a tenth bit", "keyUsage", keyUsageBits(6, 0x04, 0x40)],
    ["CERT-11: key usage of three octets", "keyUsage", keyUsageBits(0, 0x04, 0x80, 0x01)],
    ["CERT-09: authority key identifier with an issuer that has no name", "authorityKeyIdentifier",
      authorityKeyIdentifierOf(keyIdentifier, encodeDer(contextConstructed(1)), serialNumber)],
    ["CERT-24: cA FALSE spelled out", "basicConstraints", basicConstraintsOf(encodeBoolean(false))],
    ["CERT-14: path length without cA", "basicConstraints", basicConstraintsOf(encodeSmallInteger(1))],
    ["extended key usage without a purpose", "extendedKeyUsage", extension("2.5.29.37", false, encodeSequence())],
    ["CERT-09: critical authority key identifier", "authorityKeyIdentifier", authorityKeyIdentifier(Uint8Array.of(1), true)],
    ["CERT-09: authority key identifier without one", "authorityKeyIdentifier", authorityKeyIdentifierOf()],
    ["CERT-09: authority key identifier of no octets", "authorityKeyIdentifier", authorityKeyIdentifier(new Uint8Array(0))],
    ["CERT-09: authority key identifier with an issuer but no serial", "authorityKeyIdentifier",
      authorityKeyIdentifierOf(keyIdentifier, issuerNames)],
    ["CERT-09: authority key identifier with a serial but no issuer", "authorityKeyIdentifier",
      authorityKeyIdentifierOf(keyIdentifier, serialNumber)],
    ["CERT-10: critical subject key identifier", "subjectKeyIdentifier", subjectKeyIdentifier(Uint8Array.of(1), true)],
    ["CERT-10: subject key identifier of no octets", "subjectKeyIdentifier", subjectKeyIdentifier(new Uint8Array(0))],
    ["CERT-16: no name in subjectAltName", "subjectAltName", subjectAltName([])],
    ["CERT-17: name constraints not critical", "nameConstraints", nameConstraints({ permitted: [dns("east")] }, false)],
    ["CERT-17: empty name constraints", "nameConstraints", nameConstraints({})],
    ["CERT-17: empty permitted subtrees", "nameConstraints", nameConstraints({ permitted: [] })],
    ["CERT-20: policyConstraints not critical", "nameConstraints", extension("2.5.29.36", false, encodeSequence())],
    ["CERT-20: inhibitAnyPolicy not critical", "nameConstraints", extension("2.5.29.54", false, encodeSmallInteger(0))],
  ])("%s", (_, which, encoded) => {
    expect(withExtension(which, encoded)).toBe("certificate_extension_invalid");
  });

  test.each<[string, ExtensionName, Uint8Array]>([
    ["bytes behind a value", "keyUsage", extension("2.5.29.15", true, Buffer.concat([encodeNamedBits([5]), Uint8Array.of(5, 0)]))],
    ["an element behind the value", "keyUsage",
      encodeSequence(encodeOid("2.5.29.15"), encodeBoolean(true), encodeOctetString(encodeNamedBits([5])), encodeNull())],
    ["a fourth part of an authority key identifier", "authorityKeyIdentifier",
      authorityKeyIdentifierOf(keyIdentifier, issuerNames, serialNumber, encodeNull())],
    ["a third list of subtrees", "nameConstraints",
      subtreesOf(encodeDer(contextConstructed(0), encodeSequence(dns("east"))), encodeDer(contextConstructed(2), encodeSequence(dns("east"))))],
    ["a second path length", "basicConstraints", basicConstraintsOf(encodeBoolean(true), encodeSmallInteger(1), encodeSmallInteger(1))],
    ["a path length below zero", "basicConstraints", basicConstraintsOf(encodeBoolean(true), encodeDer(tag.integer, Uint8Array.of(0xff)))],
    ["CERT-17: a subtree with a minimum", "nameConstraints",
      subtreesOf(encodeDer(contextConstructed(0), encodeSequence(dns("east"), encodeDer(context(0), Uint8Array.of(0)))))],
    ["CERT-17: a subtree with a maximum", "nameConstraints",
      subtreesOf(encodeDer(contextConstructed(0), encodeSequence(dns("east"), encodeDer(context(1), Uint8Array.of(9)))))],
    ["CERT-17: NULL for subtrees", "nameConstraints", subtreesOf(encodeNull())],
  ])("as malformed: %s", (_, which, encoded) => {
    expect(withExtension(which, encoded)).toBe("der_malformed");
  });

  test("an empty list of extensions", () => {
    const none = { basicConstraints: null, keyUsage: null, subjectAltName: null, authorityKeyIdentifier: null, subjectKeyIdentifier: null };
    const emptyList = encodeDer(contextConstructed(3), encodeSequence());
    expect(outcomeOf(() => parseCertificate(root.issuer({ extensions: none, beforeExtensions: emptyList }).der)))
      .toBe("certificate_extension_invalid");
  });
});

test("an authority key identifier may name issuer and serial number beside the key identifier", () => {
  expect(withExtension("authorityKeyIdentifier", authorityKeyIdentifierOf(keyIdentifier, issuerNames, serialNumber))).toBe("accepted");
});

describe("noRevAvail", () => {
  const noRevAvail = extension("2.5.29.56", false, encodeNull());
  const url = (text: string) => encodeDer(context(6), Buffer.from(text));
  const crl = encodeSequence(encodeSequence(encodeDer(contextConstructed(0), encodeDer(contextConstructed(0), url("http://e/c")))));
  const access = (method: string) => extension("1.3.6.1.5.5.7.1.1", false, encodeSequence(encodeSequence(encodeOid(method), url("http://e/o"))));
  const leafWith = (...extraExtensions: Uint8Array[]) => outcomeOf(() => parseCertificate(root.issuer().leaf({ extraExtensions }).der));

  test("is known, and not mistaken for anything", () => {
    expect(parseCertificate(root.issuer().leaf({ extraExtensions: [noRevAvail] }).der).noRevocationAvailable).toBe(true);
    expect(parseCertificate(root.issuer().leaf().der).noRevocationAvailable).toBeUndefined();
    expect(leafWith(noRevAvail, access("1.3.6.1.5.5.7.48.2"))).toBe("accepted");
  });

  test.each<[string, () => string]>([
    ["NREV-01: critical", () => leafWith(extension("2.5.29.56", true, encodeNull()))],
    ["NREV-02: beside a CRL", () => leafWith(noRevAvail, extension("2.5.29.31", false, crl))],
    ["NREV-02: before a CRL", () => leafWith(extension("2.5.29.31", false, crl), noRevAvail)],
    ["NREV-02: beside a delta CRL", () => leafWith(noRevAvail, extension("2.5.29.46", false, crl))],
    ["NREV-02: beside OCSP", () => leafWith(access("1.3.6.1.5.5.7.48.1"), noRevAvail)],
    ["NREV-02: in a CA's certificate", () => outcomeOf(() => parseCertificate(root.issuer({ extraExtensions: [noRevAvail] }).der))],
  ])("is refused: %s", (_, outcome) => {
    expect(outcome()).toBe("certificate_extension_invalid");
  });

  test("is refused with a value that is not NULL", () => {
    expect(leafWith(extension("2.5.29.56", false, encodeBoolean(true)))).toBe("der_malformed");
  });
});

test("path length and key usage are read bit for bit", () => {
  const { der } = root.issuer({ extensions: { basicConstraints: basicConstraints(true, 300), keyUsage: keyUsage([2, 4, 8]) } });
  const certificate = parseCertificate(der);
  expect(certificate.basicConstraints).toEqual({ critical: true, certificateAuthority: true, pathLength: 300 });
  expect(certificate.keyUsage).toEqual({
    critical: true, digitalSignature: false, keyEncipherment: true, keyAgreement: true, keyCertSign: false, crlSign: false,
  });
});
