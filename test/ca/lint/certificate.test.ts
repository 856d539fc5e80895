import { generateKeyPairSync } from "node:crypto";
import { describe, expect, test } from "vitest";
import { certificateRules, lintCertificate, lintFailures, rulesKeptElsewhere } from "../../../ca/lint/certificate.ts";
import type { CertificateContext } from "../../../ca/lint/certificate-context.ts";
import {
  encodeBitString, encodeBoolean, encodeDer, encodeNull, encodeOctetString, encodeOid, encodeSequence, encodeSetOf, encodeSmallInteger, encodeTime,
  encodeUnsignedInteger, encodeUtf8String,
} from "../../../ca/pki/der-encoding.ts";
import { context, contextConstructed, tag } from "../../../ca/pki/der-tag.ts";
import { parseIpRange } from "../../../ca/pki/ip-address.ts";
import { encodeSignatureAlgorithm, subjectKeyIdentifier } from "../../../ca/pki/key.ts";
import { extensionOid as oid, extKeyUsageOid, nameOid } from "../../../ca/pki/oid.ts";
import {
  altNames, authority, dns, encodeExtension, ext, fullName, hourMs, ip, issuer, issuerContext, keyId, keyUsage, leaf, leafContext, leafIssuer, limits, nowMs, point, purposes,
  tbsOf, uri, withExtensions, type Parts,
} from "./made-of-parts.ts";

const id = uri("spiffe://east/ns/shop/sa/cart");
const latin1 = (elementTag: number, text: string): Uint8Array => encodeDer(elementTag, Buffer.from(text, "latin1"));
const named = (type: string, value: Uint8Array): Uint8Array => encodeSequence(encodeSetOf(encodeSequence(encodeOid(type), value)));
const constraints = (critical: boolean, ...sides: Uint8Array[]) => ({ [oid.nameConstraints]: ext(critical, encodeSequence(...sides)) });
const permitted = (...parts: Uint8Array[]): Uint8Array => encodeDer(contextConstructed(0), encodeSequence(...parts));
const withKey = (parts: Parts, spki: Uint8Array): Parts =>
  withExtensions({ ...parts, spki }, { [oid.subjectKeyIdentifier]: ext(false, encodeOctetString(subjectKeyIdentifier(spki))) });
const ed25519: Uint8Array = generateKeyPairSync("ed25519").publicKey.export({ format: "der", type: "spki" });
const offCurve = leaf.spki.with(-1, leaf.spki.at(-1)! ^ 1);
const meant = {
  serialNumber: Uint8Array.from({ length: 16 }, (_, index) => 0xf0 - index), notBeforeMs: nowMs - 20_000, notAfterMs: nowMs + 24 * hourMs - 1000, spki: leaf.spki,
  uris: ["spiffe://east/ns/shop/sa/cart"], dnsNames: ["cart.shop.svc"], ipAddresses: [], keyUsage: ["digitalSignature"], extKeyUsage: ["serverAuth", "clientAuth"],
  revocationInfo: {},
} as const;
const ocspSigner = withExtensions(leaf, {
  [oid.extKeyUsage]: purposes(extKeyUsageOid.ocspSigning), [oid.ocspNoCheck]: ext(false, encodeNull()), [oid.subjectAltName]: altNames(uri("spiffe://east/countersign/ocsp")),
});
const cdp = (critical: boolean, ...points: Uint8Array[]) => ({ [oid.crlDistributionPoints]: ext(critical, encodeSequence(...points)) });
const aia = (critical: boolean, method: string) => ({ [oid.authorityInfoAccess]: ext(critical, encodeSequence(encodeSequence(encodeOid(method), uri("http://ca.east/x")))) });
const policy = (text: string): Uint8Array => encodeSequence(encodeOid(text));

const good: readonly (readonly [claim: string, parts: Parts, context: CertificateContext])[] = [
  ["a workload", leaf, leafContext],
  ["a workload as it was meant", leaf, { ...leafContext, meant }],
  ["the API with IP addresses", withExtensions(leaf, { [oid.subjectAltName]: altNames(id, dns("localhost"), ip(127, 0, 0, 1)) }), { ...leafContext, kind: "api" }],
  ["an OCSP signer", ocspSigner, { ...leafContext, kind: "ocsp-signer" }],
  ["a key for JWT-SVIDs", withExtensions({ ...leaf, subject: leaf.issuer }, {
    [oid.extKeyUsage]: undefined, [oid.authorityKeyIdentifier]: keyId(subjectKeyIdentifier(leaf.spki)), [oid.subjectAltName]: ext(false, encodeSequence(uri("spiffe://east"))),
  }), { ...leafContext, kind: "jwt-key", issuer: undefined }],
  ["an issuer", issuer, issuerContext],
  ["an issuer with a URI constraint", withExtensions(issuer, constraints(true, permitted(uri("east")))), issuerContext],
  ["an issuer for other software, without an ID", withExtensions(issuer, { [oid.subjectAltName]: undefined }), { ...issuerContext, kind: "foreign-issuer", trustDomain: undefined }],
  ["an intermediate", withExtensions(issuer, { [oid.basicConstraints]: ext(true, encodeSequence(encodeBoolean(true), encodeSmallInteger(1))) }), { ...issuerContext, kind: "intermediate" }],
  ["a workload with a distribution point", withExtensions(leaf, cdp(false, point(fullName("http://ca.east/crl/1.crl")))), leafContext],
  ["a workload without revocation", withExtensions(leaf, { [oid.noRevocationAvailable]: ext(false, encodeNull()), ...aia(false, "1.3.6.1.5.5.7.48.2") }), leafContext],
  ["a workload with an Ed25519 key", withKey(leaf, ed25519), leafContext],
];

describe("nothing is said against", () => {
  test.each(good)("%s", (_claim, parts, subject) => {
    expect(lintFailures(tbsOf(parts), subject)).toEqual([]);
    expect(lintCertificate(tbsOf(parts), subject)).toEqual(tbsOf(parts));
  });
});

/** Bytes that break exactly the rule they are listed under. */
const faults: readonly (readonly [rule: string, claim: string, parts: Parts, context?: CertificateContext])[] = [
  ["CERT-01", "version 2", { ...leaf, version: encodeDer(contextConstructed(0), encodeSmallInteger(1)) }],
  ["CERT-01", "an extension twice", { ...leaf, furtherExtensions: [encodeExtension(oid.basicConstraints, ext(true, encodeSequence()))] }],
  ["CERT-02", "64 bits", { ...leaf, serialNumber: encodeUnsignedInteger(new Uint8Array(8).fill(0x7f)) }],
  ["CERT-02", "a negative number", { ...leaf, serialNumber: encodeDer(tag.integer, new Uint8Array(16).fill(0x80)) }],
  ["CERT-02", "zero", { ...leaf, serialNumber: encodeSmallInteger(0) }],
  ["CERT-02", "21 octets", { ...leaf, serialNumber: encodeDer(tag.integer, new Uint8Array(21).fill(0x7f)) }],
  ["CERT-03", "another algorithm inside than the signer's", { ...leaf, signatureAlgorithm: encodeSignatureAlgorithm("ecdsa-sha384") }],
  ["CERT-04", "another issuer's name", { ...leaf, issuer: named(nameOid.commonName, encodeUtf8String("west issuer")) }],
  ["CERT-04", "no issuer's name", { ...leaf, issuer: encodeSequence() }],
  ["CERT-04", "a CA without a name", withExtensions({ ...issuer, subject: encodeSequence() }, { [oid.subjectAltName]: altNames(uri("spiffe://east")) }), issuerContext],
  ["CERT-05", "GeneralizedTime before 2050", { ...leaf, notAfter: latin1(tag.generalizedTime, "20260101120000Z") }],
  ["CERT-05", "an end before the beginning", { ...leaf, notAfter: encodeTime(nowMs - hourMs) }],
  ["CERT-06", "an empty subject beside names that are not critical", withExtensions(leaf, { [oid.subjectAltName]: ext(false, encodeSequence(id)) })],
  ["CERT-06", "critical names beside a subject", withExtensions(issuer, { [oid.subjectAltName]: altNames(uri("spiffe://east")) }), issuerContext],
  ["CERT-07", "a name in BMPString", { ...issuer, subject: named(nameOid.commonName, encodeDer(0x1e, Uint8Array.of(0, 0x41))) }, issuerContext],
  ["CERT-07", "a common name of 65 characters", { ...issuer, subject: named(nameOid.commonName, encodeUtf8String("a".repeat(65))) }, issuerContext],
  ["CERT-07", "a country of three letters", { ...issuer, subject: named(nameOid.country, latin1(tag.printableString, "CHE")) }, issuerContext],
  ["CERT-07", "a domain component in UTF8String", { ...issuer, subject: named(nameOid.domainComponent, encodeUtf8String("east")) }, issuerContext],
  ["CERT-08", "a subjectUniqueID", { ...leaf, between: encodeDer(context(2), Uint8Array.of(0, 1)) }],
  ["CERT-09", "no authority key identifier", withExtensions(leaf, { [oid.authorityKeyIdentifier]: undefined })],
  ["CERT-09", "a critical authority key identifier", withExtensions(leaf, { [oid.authorityKeyIdentifier]: { ...leaf.extensions[oid.authorityKeyIdentifier]!, critical: true } })],
  ["CERT-10", "no subject key identifier", withExtensions(leaf, { [oid.subjectKeyIdentifier]: undefined })],
  ["CERT-10", "the identifier of another key", withExtensions(leaf, { [oid.subjectKeyIdentifier]: ext(false, encodeOctetString(new Uint8Array(20))) })],
  ["CERT-10", "the identifier of another issuer", withExtensions(leaf, { [oid.authorityKeyIdentifier]: keyId(new Uint8Array(20).fill(7)) })],
  ["CERT-11", "key usage that is not critical", withExtensions(leaf, { [oid.keyUsage]: { ...keyUsage(0), critical: false } })],
  ["CERT-11", "key usage that ends in zero bits", withExtensions(leaf, { [oid.keyUsage]: ext(true, encodeDer(tag.bitString, Uint8Array.of(6, 0x80))) })],
  ["CERT-12", "keyCertSign without a CA", withExtensions(leaf, { [oid.keyUsage]: keyUsage(0, 5) })],
  ["CERT-12", "cRLSign in an end entity", withExtensions(leaf, { [oid.keyUsage]: keyUsage(0, 6) })],
  ["CERT-12", "an issuer without cRLSign", withExtensions(issuer, { [oid.keyUsage]: keyUsage(5) }), issuerContext],
  ["CERT-13", "encipherment with an EC key", withExtensions(leaf, { [oid.keyUsage]: keyUsage(0, 2) })],
  ["CERT-13", "key agreement with an Ed25519 key", withExtensions(withKey(leaf, ed25519), { [oid.keyUsage]: keyUsage(0, 4) })],
  ["CERT-14", "an end entity that is a CA", withExtensions(leaf, { [oid.basicConstraints]: ext(true, encodeSequence(encodeBoolean(true))) })],
  ["CERT-14", "basic constraints of a CA that are not critical", withExtensions(issuer, { [oid.basicConstraints]: { ...issuer.extensions[oid.basicConstraints]!, critical: false } }), issuerContext],
  ["CERT-14", "an issuer with the path length 1", withExtensions(issuer, { [oid.basicConstraints]: ext(true, encodeSequence(encodeBoolean(true), encodeSmallInteger(1))) }), issuerContext],
  ["CERT-15", "any purpose beside", withExtensions(leaf, { [oid.extKeyUsage]: purposes(extKeyUsageOid.serverAuth, extKeyUsageOid.clientAuth, extKeyUsageOid.any) })],
  ["CERT-15", "no purpose", withExtensions(ocspSigner, { [oid.keyUsage]: keyUsage(4) }), { ...leafContext, kind: "ocsp-signer" }],
  ["CERT-16", "a wildcard", withExtensions(leaf, { [oid.subjectAltName]: altNames(id, dns("*.shop.svc")) })],
  ["CERT-16", "a glob inside a name", withExtensions(leaf, { [oid.subjectAltName]: altNames(id, dns("ca*.shop.svc")) })],
  ["CERT-16", "a null octet", withExtensions(leaf, { [oid.subjectAltName]: altNames(id, dns("cart\0.evil")) })],
  ["CERT-16", "an IPv4 address as a DNS name", withExtensions(leaf, { [oid.subjectAltName]: altNames(id, dns("10.0.0.1")) })],
  ["CERT-16", "an IP address of 5 octets", withExtensions(leaf, { [oid.subjectAltName]: altNames(id, ip(1, 2, 3, 4, 5)) })],
  ["CERT-16", "an e-mail address", withExtensions(leaf, { [oid.subjectAltName]: altNames(id, latin1(context(1), "a@b")) })],
  ["CERT-17", "name constraints in an end entity", withExtensions(leaf, constraints(true, permitted(uri("east"))))],
  ["CERT-17", "name constraints that are not critical", withExtensions(issuer, constraints(false, permitted(uri("east")))), issuerContext],
  ["CERT-17", "empty name constraints", withExtensions(issuer, constraints(true)), issuerContext],
  ["CERT-17", "a maximum", withExtensions(issuer, constraints(true, permitted(uri("east"), encodeDer(context(1), Uint8Array.of(1))))), issuerContext],
  ["CERT-17", "a URI constraint with a path", withExtensions(issuer, constraints(true, permitted(uri("spiffe://east/ns")))), issuerContext],
  ["CERT-18", "a critical distribution point", withExtensions(leaf, cdp(true, point(fullName("http://ca.east/1.crl")))), leafContext],
  ["CERT-18", "a distribution point over https", withExtensions(leaf, cdp(false, point(fullName("https://ca.east/1.crl")))), leafContext],
  ["CERT-18", "a distribution point of reasons only", withExtensions(leaf, cdp(false, point(encodeDer(context(1), Uint8Array.of(1, 2))))), leafContext],
  ["CERT-18", "a CRL issuer", withExtensions(leaf, cdp(false, point(fullName("http://ca.east/1.crl"), encodeDer(contextConstructed(2), uri("http://x"))))), leafContext],
  ["CERT-19", "a critical freshest CRL", withExtensions(leaf, { [oid.freshestCrl]: ext(true, encodeSequence(point(fullName("http://ca.east/d.crl")))) })],
  ["CERT-20", "a policy twice", withExtensions(leaf, { [oid.certificatePolicies]: ext(false, encodeSequence(policy("1.2.3"), policy("1.2.3"))) })],
  ["CERT-20", "inhibitAnyPolicy that is not critical", withExtensions(issuer, { [oid.inhibitAnyPolicy]: ext(false, encodeSmallInteger(0)) }), issuerContext],
  ["CERT-21", "an end after the issuer's", leaf, { ...leafContext, issuer: { ...leafIssuer, notAfterMs: nowMs + hourMs } }],
  ["CERT-21", "a beginning before the issuer's", leaf, { ...leafContext, issuer: { ...leafIssuer, notBeforeMs: nowMs } }],
  ["CERT-22", "the issuer's key", leaf, { ...leafContext, issuer: { ...leafIssuer, spki: leaf.spki } }],
  ["CERT-23", "a point that is not on its curve", withKey(leaf, offCurve)],
  ["CERT-24", "cA FALSE spelled out", withExtensions(leaf, { [oid.basicConstraints]: ext(true, encodeSequence(encodeBoolean(false))) })],
  ["CERT-24", "critical FALSE spelled out", { ...withExtensions(leaf, { [oid.extKeyUsage]: undefined }), furtherExtensions: [
    encodeSequence(encodeOid(oid.extKeyUsage), encodeBoolean(false), encodeOctetString(leaf.extensions[oid.extKeyUsage]!.value)),
  ] }],
  ["CERT-24", "a SET that is not sorted", { ...issuer, subject: encodeSequence(encodeDer(tag.set,
    encodeSequence(encodeOid(nameOid.commonName), encodeUtf8String("b")), encodeSequence(encodeOid(nameOid.commonName), encodeUtf8String("a")))) }, issuerContext],
  ["CERT-25", "a critical extension nobody knows", withExtensions(leaf, { "1.2.3.4": ext(true, encodeNull()) })],
  ["CERT-26", "an issuer that is no CA", leaf, { ...leafContext, issuer: { ...leafIssuer, basicConstraints: { critical: true, certificateAuthority: false } } }],
  ["CERT-26", "an issuer below an issuer", { ...issuer }, { ...issuerContext, issuer: { ...issuerContext.issuer!, basicConstraints: { critical: true, certificateAuthority: true, pathLength: 0 } } }],
  ["CERT-26", "an issuer that may not sign certificates", leaf, { ...leafContext, issuer: { ...leafIssuer, keyUsage: { ...leafIssuer.keyUsage!, keyCertSign: false } } }],
  ["CERT-26-names", "a name the issuer may not give", leaf, { ...leafContext, issuer: { ...leafIssuer, nameConstraints: authority({ permitted: "west" }).nameConstraints! } }],
  ["NREV-01", "noRevAvail that is not NULL", withExtensions(leaf, { [oid.noRevocationAvailable]: ext(false, encodeSequence()) })],
  ["NREV-02", "noRevAvail beside a distribution point", withExtensions(leaf, { [oid.noRevocationAvailable]: ext(false, encodeNull()), ...cdp(false, point(fullName("http://ca.east/1.crl"))) })],
  ["NREV-02", "noRevAvail beside an OCSP responder", withExtensions(leaf, { [oid.noRevocationAvailable]: ext(false, encodeNull()), ...aia(false, "1.3.6.1.5.5.7.48.1") })],
  ["NREV-02", "noRevAvail in a CA", withExtensions(issuer, { [oid.noRevocationAvailable]: ext(false, encodeNull()) }), issuerContext],
  ["OCSP-04", "an OCSP signer without nocheck", withExtensions(ocspSigner, { [oid.ocspNoCheck]: undefined }), { ...leafContext, kind: "ocsp-signer" }],
  ["TLSF-01", "a TLS feature", withExtensions(leaf, { [oid.tlsFeature]: ext(false, encodeSequence(encodeSmallInteger(5))) })],
  ["XS-01", "two URIs", withExtensions(leaf, { [oid.subjectAltName]: altNames(id, uri("https://east/")) })],
  ["XS-01", "an ID of another trust domain", withExtensions(leaf, { [oid.subjectAltName]: altNames(uri("spiffe://west/a")) })],
  ["XS-01", "an ID without a path", withExtensions(leaf, { [oid.subjectAltName]: altNames(uri("spiffe://east")) })],
  ["XS-01", "no ID", withExtensions(leaf, { [oid.subjectAltName]: altNames(dns("cart.shop.svc")) })],
  ["XS-11", "an issuer's ID with a path", withExtensions(issuer, { [oid.subjectAltName]: ext(false, encodeSequence(id)) }), issuerContext],
  ["XS-17", "servers only", withExtensions(leaf, { [oid.extKeyUsage]: purposes(extKeyUsageOid.serverAuth) })],
  ["PROFILE-01", "a longer life than the profile's", { ...leaf, notAfter: encodeTime(nowMs + 24 * hourMs) }],
  ["PROFILE-02", "a key the profile does not allow", leaf, { ...leafContext, limits: { ...limits, keyAlgorithms: ["ec-p384"] } }],
  ["PROFILE-03", "another serial number than meant", { ...leaf, serialNumber: encodeUnsignedInteger(new Uint8Array(16).fill(0x70)) }, { ...leafContext, meant }],
  ["PROFILE-03", "other dates than meant", { ...leaf, notAfter: encodeTime(nowMs + hourMs) }, { ...leafContext, meant }],
  ["PROFILE-03", "another key than meant", withKey(leaf, ed25519), { ...leafContext, meant }],
  ["PROFILE-04", "another name than meant", withExtensions(leaf, { [oid.subjectAltName]: altNames(id, dns("admin.shop.svc")) }), { ...leafContext, meant }],
  ["PROFILE-04", "one name more than meant", withExtensions(leaf, { [oid.subjectAltName]: altNames(id, dns("cart.shop.svc"), ip(10, 0, 0, 1)) }), { ...leafContext, meant }],
  ["PROFILE-05", "another key usage than meant", withExtensions(leaf, { [oid.keyUsage]: keyUsage(0, 1) }), { ...leafContext, meant }],
  ["PROFILE-05", "a purpose more than meant", withExtensions(leaf, { [oid.extKeyUsage]: purposes(extKeyUsageOid.serverAuth, extKeyUsageOid.clientAuth, extKeyUsageOid.ocspSigning) }), { ...leafContext, meant }],
  ["PROFILE-06", "a DNS name the profile does not permit", leaf, { ...leafContext, limits: { ...limits, names: { dnsNames: ["*.db.svc"], ipRanges: [] } } }],
  ["PROFILE-06", "an IP address outside the profile's ranges", withExtensions(leaf, { [oid.subjectAltName]: altNames(id, ip(192, 168, 0, 1)) }),
    { ...leafContext, limits: { ...limits, names: { dnsNames: [], ipRanges: [parseIpRange("10.0.0.0/8")] } } }],
  ["PROFILE-08", "a distribution point that was not meant", withExtensions(leaf, cdp(false, point(fullName("http://ca.east/1.crl")))), { ...leafContext, meant }],
  ["PROFILE-08", "no distribution point though one was meant", leaf, { ...leafContext, meant: { ...meant, revocationInfo: { crlUrl: "http://ca.east/1.crl" } } }],
  ["PROFILE-08", "revocation though none was meant", leaf, { ...leafContext, meant: { ...meant, revocationInfo: { noRevocationAvailable: true } } }],
  ["PROFILE-07", "9 KiB", withExtensions(leaf, { "1.2.3.4": ext(false, encodeOctetString(new Uint8Array(9000))) })],
];

describe("exactly the rule is named that is broken by", () => {
  for (const [rule, claim, parts, subject = leafContext] of faults) {
    test(`${rule}: ${claim}`, () => {
      expect(lintFailures(tbsOf(parts), subject).map((failure) => failure.id)).toEqual([rule]);
      expect(() => lintCertificate(tbsOf(parts), subject)).toThrow(expect.objectContaining({ code: "lint_failed" }));
    });
  }
});

test("bytes that are no TBSCertificate are refused", () => {
  expect(lintFailures(Uint8Array.of(0x30, 0), leafContext).map((failure) => failure.id)).toEqual(["CERT-24"]);
  expect(lintFailures(encodeBitString(new Uint8Array(3)), leafContext)).toHaveLength(1);
});

test("every rule has a citation of its own and bytes that break it, and no CERT rule of the table is forgotten", () => {
  const ids = certificateRules.map((rule) => rule.id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(certificateRules.filter(({ citation }) => citation === "")).toEqual([]);
  expect(ids.filter((each) => !faults.some(([rule]) => rule === each))).toEqual([]);
  const table = Array.from({ length: 28 }, (_, index) => `CERT-${String(index + 1).padStart(2, "0")}`);
  expect(table.filter((each) => !ids.includes(each) && rulesKeptElsewhere[each] === undefined)).toEqual([]);
});

test("the refusal names rule, source and what is wrong, and nothing of the bytes", () => {
  const tbs = tbsOf(withExtensions(leaf, { [oid.subjectAltName]: altNames(uri("spiffe://west/secret-name")) }));
  expect(() => lintCertificate(tbs, leafContext)).toThrow(/XS-01 \(X509-SVID 2, 3\.1\): its SPIFFE ID is of another trust domain/);
  expect(() => lintCertificate(tbs, leafContext)).not.toThrow(/secret-name/);
});
