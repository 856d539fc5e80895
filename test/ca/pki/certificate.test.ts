import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { describe, expect, test } from "vitest";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodeDer, encodeNull, encodeOctetString, encodeOid, encodeSequence, encodeSmallInteger, encodeTime } from "../../../ca/pki/der-encoding.ts";
import { context, contextConstructed, tag } from "../../../ca/pki/der-tag.ts";
import { contentOf, readDer } from "../../../ca/pki/der.ts";
import { outcomeOf } from "../../support/outcome.ts";
import {
  basicConstraints, extension, keyUsage, name, nameConstraints, signatureIdentifier, subjectAltName, testAuthority, testKey, uri, dns,
  type Faults, type LeafOptions, type TestKey,
} from "../../support/test-ca.ts";

const authority = testAuthority({ trustDomain: "east" });
const parseLeaf = (faults: LeafOptions) => parseCertificate(authority.leaf(faults).der);
const generalizedTime = (text: string) => encodeDer(tag.generalizedTime, Buffer.from(text));
const bigSerial = (octets: number) => Buffer.alloc(octets, 0x7f);
const noExtensions = {
  basicConstraints: null, keyUsage: null, extendedKeyUsage: null, subjectAltName: null, authorityKeyIdentifier: null, subjectKeyIdentifier: null,
};
/** A key pair of which only the SubjectPublicKeyInfo matters. */
const keyWithSpki = (der: Uint8Array): TestKey =>
  ({ kind: "ec-p256", privateKey: testKey().privateKey, publicKey: { export: () => der } as unknown as TestKey["publicKey"] });
const spkiOfCurve = (namedCurve: string, paramEncoding: "named" | "explicit" = "named") =>
  generateKeyPairSync("ec", { namedCurve, paramEncoding }).publicKey.export({ format: "der", type: "spki" });

describe("a certificate", () => {
  test("is read as node:crypto reads it", () => {
    const { der } = authority.leaf({ spiffeId: "spiffe://east/ns/shop/sa/cart", names: [dns("cart.shop")], subject: name("cart") });
    const ours = parseCertificate(der);
    const theirs = new X509Certificate(der);
    expect(ours.serialNumber).toBe(theirs.serialNumber.toLowerCase());
    expect(ours.fingerprint).toBe(theirs.fingerprint256.replaceAll(":", "").toLowerCase());
    expect(ours.notBeforeMs).toBe(Date.parse(theirs.validFrom));
    expect(ours.notAfterMs).toBe(Date.parse(theirs.validTo));
    expect(ours.publicKey.equals(theirs.publicKey)).toBe(true);
    expect(theirs.subjectAltName).toBe("URI:spiffe://east/ns/shop/sa/cart, DNS:cart.shop");
    expect(ours.subjectAltName).toMatchObject({ critical: true, uris: ["spiffe://east/ns/shop/sa/cart"], dnsNames: ["cart.shop"] });
    expect(ours.keyUsage).toMatchObject({ critical: true, digitalSignature: true, keyCertSign: false, crlSign: false });
    expect(ours.extendedKeyUsage?.purposes).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    expect(ours.basicConstraints).toEqual({ critical: true, certificateAuthority: false });
    expect(Buffer.from(ours.issuer)).toEqual(Buffer.from(authority.subject));
    expect(Buffer.from(ours.authorityKeyIdentifier!)).toEqual(Buffer.from(authority.keyIdentifier));
  });

  test("does not change when the buffer it was read from does", () => {
    const der = Uint8Array.from(authority.leaf().der);
    const certificate = parseCertificate(der);
    const before = Buffer.from(certificate.tbs).toString("hex");
    der.fill(0);
    expect(Buffer.from(certificate.tbs).toString("hex")).toBe(before);
  });

  test.each(["ec-p256", "ec-p384", "ed25519", "rsa-2048"] as const)("with a key of kind %s is read", (keyKind) => {
    expect(parseLeaf({ keyKind }).keyAlgorithm).toBe(keyKind);
  });

  test("shows a serial number without the sign octet, but with its leading zero digit", () => {
    expect(parseLeaf({ serial: Uint8Array.of(0x00, 0x80, 0x01) }).serialNumber).toBe("8001");
    expect(parseLeaf({ serial: Uint8Array.of(0x05) }).serialNumber).toBe("05");
  });

  test("may have serial number 0 only if it is that of a self-issued CA, as the roots of early SPIRE releases", () => {
    const root = testAuthority({ trustDomain: "east", serial: Uint8Array.of(0) });
    expect(parseCertificate(root.der).serialNumber).toBe("00");
    expect(outcomeOf(() => parseCertificate(root.issuer({ serial: Uint8Array.of(0) }).der))).toBe("certificate_serial_invalid");
    expect(outcomeOf(() => parseLeaf({ serial: Uint8Array.of(0), subject: authority.subject }))).toBe("certificate_serial_invalid");
  });

  test("may be valid for one second only", () => {
    expect(outcomeOf(() => parseLeaf({ notBeforeMs: 1000, notAfterMs: 1000 }))).toBe("accepted");
  });

  test("may have up to 32 KiB", () => {
    // Signatures of Ed25519 all have the same length, so that the sizes can be foreseen.
    const sizeable = testAuthority({ trustDomain: "east", keyKind: "ed25519" });
    const padded = (bytes: number) => sizeable.leaf({ extraExtensions: [extension("1.2.3.4", false, encodeOctetString(new Uint8Array(bytes)))] }).der;
    const largest = 32 * 1024 - padded(32_000).length + 32_000;
    expect(padded(largest)).toHaveLength(32 * 1024);
    expect(outcomeOf(() => parseCertificate(padded(largest)))).toBe("accepted");
    expect(outcomeOf(() => parseCertificate(padded(largest + 1)))).toBe("der_limit_exceeded");
  });

  test("may reach beyond 2049 and up to the end of time", () => {
    expect(parseLeaf({ notAfterMs: Date.UTC(2050, 0, 1) }).notAfterMs).toBe(Date.UTC(2050, 0, 1));
    const forever = encodeSequence(encodeTime(0), generalizedTime("99991231235959Z"));
    expect(parseLeaf({ validity: forever }).notAfterMs).toBe(Date.UTC(9999, 11, 31, 23, 59, 59));
  });

  test.each<[string, Faults]>([
    ["non-critical and unknown (CERT-25)", { extraExtensions: [extension("1.2.3.4", false, encodeNull())] }],
    ["non-critical certificate policies", { extraExtensions: [extension("2.5.29.32", false, encodeSequence(encodeSequence(encodeOid("1.2.3"))))] }],
  ])("with an extension that is %s is accepted", (_, faults) => {
    expect(outcomeOf(() => parseLeaf(faults))).toBe("accepted");
  });
});

describe("a certificate is refused", () => {
  test.each<[string, Faults, string]>([
    ["CERT-01: version 1", { version: null }, "certificate_version_unsupported"],
    ["CERT-01: version 1 spelled out", { version: 0 }, "certificate_version_unsupported"],
    ["CERT-01: version 2", { version: 1 }, "certificate_version_unsupported"],
    ["CERT-01: version 4", { version: 3 }, "certificate_version_unsupported"],
    ["CERT-01: an extension twice", { extraExtensions: [keyUsage([0])] }, "certificate_extension_duplicate"],
    ["CERT-01: an unknown extension twice",
      { extraExtensions: [1, 2].map(() => extension("1.2.3.4", false, encodeNull())) }, "certificate_extension_duplicate"],
    ["CERT-02: serial 0", { serial: Uint8Array.of(0) }, "certificate_serial_invalid"],
    ["CERT-02: negative serial", { serial: Uint8Array.of(0x80) }, "certificate_serial_invalid"],
    ["CERT-02: serial of 21 octets", { serial: bigSerial(21) }, "certificate_serial_invalid"],
    ["CERT-02: no serial", { serial: new Uint8Array(0) }, "der_malformed"],
    ["CERT-24: serial not minimal", { serial: Uint8Array.of(0, 1) }, "der_malformed"],
    ["CERT-03: outer algorithm differs", { outerAlgorithm: signatureIdentifier("ec-p384") }, "certificate_algorithm_mismatch"],
    ["CERT-03: inner algorithm differs",
      { innerAlgorithm: signatureIdentifier("ec-p384"), outerAlgorithm: signatureIdentifier("ec-p256") }, "certificate_algorithm_mismatch"],
    ["CERT-03: ECDSA with NULL parameters",
      { innerAlgorithm: encodeSequence(encodeOid("1.2.840.10045.4.3.2"), encodeNull()) }, "algorithm_unsupported"],
    ["CERT-03: RSA without parameters", { innerAlgorithm: encodeSequence(encodeOid("1.2.840.113549.1.1.11")) }, "algorithm_unsupported"],
    ["ECDSA with SHA-1", { digest: "sha1" }, "algorithm_unsupported"],
    ["RSA with SHA-1", { innerAlgorithm: signatureIdentifier("rsa-2048", "sha1") }, "algorithm_unsupported"],
    ["RSA with MD5", { innerAlgorithm: encodeSequence(encodeOid("1.2.840.113549.1.1.4"), encodeNull()) }, "algorithm_unsupported"],
    ["CERT-04: issuer without a name", { issuerName: name("") }, "certificate_malformed"],
    ["issuer that is no Name", { issuerName: encodeSequence(encodeNull()) }, "der_malformed"],
    ["subject with an empty relative name", { subject: encodeSequence(encodeDer(tag.set)) }, "der_malformed"],
    ["CERT-05: 2049 as GeneralizedTime",
      { validity: encodeSequence(encodeTime(0), generalizedTime("20491231235959Z")) }, "certificate_malformed"],
    ["CERT-05: fraction of a second", { validity: encodeSequence(encodeTime(0), generalizedTime("20600101000000.5Z")) }, "der_malformed"],
    ["CERT-05: no time zone", { validity: encodeSequence(encodeTime(0), generalizedTime("20600101000000")) }, "der_malformed"],
    ["CERT-05: a third date", { validity: encodeSequence(encodeTime(0), encodeTime(1000), encodeTime(2000)) }, "der_malformed"],
    ["ends before it begins", { notBeforeMs: 2000, notAfterMs: 1000 }, "certificate_malformed"],
    ["CERT-06: no subject, subjectAltName not critical",
      { subject: name(""), extensions: { subjectAltName: subjectAltName([uri("spiffe://east/w")]) } }, "certificate_extension_invalid"],
    ["CERT-06: no subject, no subjectAltName", { subject: name(""), extensions: { subjectAltName: null } }, "certificate_extension_invalid"],
    ["CERT-08: issuerUniqueID", { beforeExtensions: encodeDer(context(1), Uint8Array.of(0, 1)) }, "der_malformed"],
    ["CERT-08: subjectUniqueID", { beforeExtensions: encodeDer(context(2), Uint8Array.of(0, 1)) }, "der_malformed"],
    ["CERT-17: name constraints in an end entity",
      { extraExtensions: [nameConstraints({ permitted: [dns("east")] })] }, "certificate_extension_invalid"],
    ["CERT-23: RSA-1024 key", { keyKind: "rsa-1024" }, "public_key_weak"],
    ["CERT-23: P-521 key", { key: keyWithSpki(spkiOfCurve("P-521")) }, "public_key_unsupported"],
    ["CERT-23: curve by explicit parameters", { key: keyWithSpki(spkiOfCurve("P-256", "explicit")) }, "public_key_unsupported"],
    ["CERT-24: bytes behind it", { tamper: (der) => Buffer.concat([der, Uint8Array.of(0)]) }, "der_malformed"],
    ["CERT-24: an element behind the signature",
      { tamper: (der) => encodeSequence(contentOf(readDer(der)), encodeNull()) }, "der_malformed"],
    ["CERT-24: an element behind the version",
      { version: Buffer.concat([encodeSmallInteger(2), encodeNull()]) }, "der_malformed"],
    ["CERT-24: an element behind the extensions",
      { extensions: noExtensions, beforeExtensions: encodeDer(contextConstructed(3), encodeSequence(keyUsage([0])), encodeNull()) }, "der_malformed"],
    ["CERT-24: cut off", { tamper: (der) => der.subarray(0, -1) }, "der_malformed"],
    ["CERT-25: an unknown critical extension",
      { extraExtensions: [extension("1.2.3.4", true, encodeNull())] }, "certificate_extension_critical_unknown"],
    ["CERT-25: critical certificate policies, which are not processed",
      { extraExtensions: [extension("2.5.29.32", true, encodeSequence())] }, "certificate_extension_critical_unknown"],
    ["larger than 32 KiB",
      { extraExtensions: [extension("1.2.3.4", false, encodeOctetString(new Uint8Array(32 * 1024)))] }, "der_limit_exceeded"],
  ])("%s", (_, faults, code) => {
    expect(outcomeOf(() => parseLeaf({ subject: name("workload"), ...faults }))).toBe(code);
  });

  test("CERT-23: an EC point that is not on its curve is refused when the key is first used", () => {
    const spki = Buffer.from(spkiOfCurve("P-256"));
    spki[spki.length - 1]! ^= 1;
    const certificate = parseLeaf({ key: keyWithSpki(spki) });
    expect(outcomeOf(() => certificate.publicKey)).toBe("public_key_invalid");
  });

  test("without a message that repeats its names", () => {
    const { der } = authority.leaf({ subject: name("hush-hush"), extraExtensions: [keyUsage([0]), basicConstraints(false)] });
    expect(() => parseCertificate(der)).toThrow(/^(?!.*hush)/);
  });
});
