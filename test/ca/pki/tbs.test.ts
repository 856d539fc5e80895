import "reflect-metadata";
import { generateKeyPairSync, X509Certificate, type KeyObject } from "node:crypto";
import {
  AuthorityKeyIdentifierExtension, BasicConstraintsExtension, ExtendedKeyUsageExtension, Extension, KeyUsageFlags, KeyUsagesExtension,
  Name, PublicKey, SubjectAlternativeNameExtension, SubjectKeyIdentifierExtension, X509CertificateGenerator, type JsonGeneralNames,
  type JsonNameParams,
} from "@peculiar/x509";
import * as asn1js from "asn1js";
import fc from "fast-check";
import * as pkijs from "pkijs";
import { describe, expect, it } from "vitest";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { tag } from "../../../ca/pki/der-tag.ts";
import { encodedOf, readDer, readerOf } from "../../../ca/pki/der.ts";
import type { KeyUsageBit } from "../../../ca/pki/extension-encoding.ts";
import { parseIpRange } from "../../../ca/pki/ip-address.ts";
import { signatureAlgorithmFor, signData, subjectKeyIdentifier, type KeyAlgorithm, type SignatureAlgorithm } from "../../../ca/pki/key.ts";
import { extensionOid, extKeyUsageOid } from "../../../ca/pki/oid.ts";
import { encodePem } from "../../../ca/pki/pem.ts";
import {
  compileTemplate, emptyName, encodeCertificate, encodeName, encodeTbs, type NameFields, type TbsFields, type TemplateFields,
  type WorkloadFields,
} from "../../../ca/pki/tbs.ts";
import { openssl, opensslAvailable } from "../../support/openssl.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const pair = (keyAlgorithm: "ec-p256" | "ec-p384" | "ed25519" | "rsa-2048") => {
  const { publicKey, privateKey } = keyAlgorithm === "ed25519" ? generateKeyPairSync("ed25519")
    : keyAlgorithm === "rsa-2048" ? generateKeyPairSync("rsa", { modulusLength: 2048 })
    : generateKeyPairSync("ec", { namedCurve: keyAlgorithm === "ec-p256" ? "P-256" : "P-384" });
  const spki: Uint8Array = publicKey.export({ format: "der", type: "spki" });
  return { privateKey, spki, keyIdentifier: subjectKeyIdentifier(spki), signatureAlgorithm: signatureAlgorithmFor(keyAlgorithm) };
};
const keys = { p256: pair("ec-p256"), p384: pair("ec-p384"), ed25519: pair("ed25519"), rsa: pair("rsa-2048") };

const rootName: NameFields = { organization: "Countersign", commonName: "east root" };
const issuerName: NameFields = { organization: "Countersign", commonName: "east issuer", serialNumber: "7f-3A" };
const workloadTemplate: TemplateFields = {
  signatureAlgorithm: "ecdsa-sha256",
  issuer: encodeName(issuerName),
  authorityKeyIdentifier: keys.p384.keyIdentifier,
  basicConstraints: { certificateAuthority: false },
  keyUsage: ["digitalSignature"],
  extKeyUsage: ["serverAuth", "clientAuth"],
};
const nowMs = Date.UTC(2026, 10, 21, 5, 20, 0);
const workload: WorkloadFields = {
  serialNumber: Uint8Array.from({ length: 16 }, (_, index) => 0xf0 + index),
  notBeforeMs: nowMs - 20_000,
  notAfterMs: nowMs + 86_400_000,
  spki: keys.p256.spki,
  subjectKeyIdentifier: keys.p256.keyIdentifier,
  uri: "spiffe://east/ns/shop/sa/cart",
  dnsNames: ["cart.shop.svc"],
};

/** The same certificate as the general encoder is told to write it. */
function generalFields(template: TemplateFields, { uri, dnsNames, subjectKeyIdentifier, ...rest }: WorkloadFields): TbsFields {
  const { signatureAlgorithm, issuer, revocationInfo, ...extensions } = template;
  const shard = revocationInfo?.[Number(BigInt(`0x${hex(rest.serialNumber)}`) % BigInt(revocationInfo.length))];
  return {
    ...rest, signatureAlgorithm, issuer, subject: emptyName,
    extensions: { ...extensions, ...(shard && { revocationInfo: shard }), subjectKeyIdentifier, subjectAltName: { uris: [uri], dnsNames } },
  };
}

// ---- the oracle: the same fields through @peculiar/x509, and pkijs for name constraints ----

const jsonName = ({ organization, commonName, serialNumber }: NameFields): JsonNameParams => [
  ...(organization === undefined ? [] : [{ O: [{ utf8String: organization }] }]),
  { CN: [{ utf8String: commonName }] },
  ...(serialNumber === undefined ? [] : [{ "2.5.4.5": [{ printableString: serialNumber }] }]),
];
const oracleAlgorithms: Partial<Record<SignatureAlgorithm, object>> = {
  "ecdsa-sha256": { name: "ECDSA", hash: "SHA-256" },
  "ecdsa-sha384": { name: "ECDSA", hash: "SHA-384" },
  ed25519: { name: "Ed25519" },
  "rsa-sha256": { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
};
const oracleKeyUsage = (bits: readonly KeyUsageBit[]): KeyUsageFlags =>
  bits.reduce<number>((flags, bit) => flags | KeyUsageFlags[bit === "crlSign" ? "cRLSign" : bit], 0);

async function oracleTbs(fields: TbsFields, names: { readonly issuer: NameFields; readonly subject?: NameFields }): Promise<string> {
  const { basicConstraints, keyUsage, extKeyUsage, nameConstraints, authorityKeyIdentifier, subjectKeyIdentifier, subjectAltName } = fields.extensions;
  const extensions: Extension[] = [];
  if (basicConstraints) extensions.push(new BasicConstraintsExtension(basicConstraints.certificateAuthority, basicConstraints.pathLength, true));
  if (keyUsage) extensions.push(new KeyUsagesExtension(oracleKeyUsage(keyUsage), true));
  if (extKeyUsage) extensions.push(new ExtendedKeyUsageExtension(extKeyUsage.map((purpose) => extKeyUsageOid[purpose])));
  if (nameConstraints) {
    const subtrees = (side: typeof nameConstraints.permitted) => side && [
      ...(side.uris ?? []).map((value) => new pkijs.GeneralSubtree({ base: new pkijs.GeneralName({ type: 6, value }) })),
      ...(side.dnsNames ?? []).map((value) => new pkijs.GeneralSubtree({ base: new pkijs.GeneralName({ type: 2, value }) })),
      ...(side.ipRanges ?? []).map((range) => new pkijs.GeneralSubtree({
        base: new pkijs.GeneralName({ type: 7, value: new asn1js.OctetString({ valueHex: Uint8Array.from(range).buffer }) }),
      })),
    ];
    const value = new pkijs.NameConstraints({
      permittedSubtrees: subtrees(nameConstraints.permitted), excludedSubtrees: subtrees(nameConstraints.excluded),
    });
    extensions.push(new Extension(extensionOid.nameConstraints, true, value.toSchema().toBER()));
  }
  if (authorityKeyIdentifier) extensions.push(new AuthorityKeyIdentifierExtension(hex(authorityKeyIdentifier)));
  if (subjectKeyIdentifier) extensions.push(new SubjectKeyIdentifierExtension(hex(subjectKeyIdentifier)));
  if (subjectAltName) {
    const altNames: JsonGeneralNames = [
      ...(subjectAltName.uris ?? []).map((value) => ({ type: "url" as const, value })),
      ...(subjectAltName.dnsNames ?? []).map((value) => ({ type: "dns" as const, value })),
    ];
    extensions.push(new SubjectAlternativeNameExtension(altNames, names.subject === undefined));
  }
  const certificate = await X509CertificateGenerator.create({
    serialNumber: hex(fields.serialNumber),
    issuer: new Name(jsonName(names.issuer)),
    ...(names.subject && { subject: new Name(jsonName(names.subject)) }),
    notBefore: new Date(fields.notBeforeMs),
    notAfter: new Date(fields.notAfterMs),
    publicKey: new PublicKey(Uint8Array.from(fields.spki)),
    signature: new Uint8Array(64),
    signingAlgorithm: oracleAlgorithms[fields.signatureAlgorithm] as { name: string },
    extensions,
  });
  return hex(signedPart(new Uint8Array(certificate.rawData)));
}

const signedPart = (certificate: Uint8Array): Uint8Array => encodedOf(readerOf(readDer(certificate), tag.sequence).next());

describe("the workload template", () => {
  const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);
  const segment = fc.stringMatching(/^[a-zA-Z0-9_-]{1,20}$/);
  // @peculiar/x509 writes the serial number as given, so it is given in its shortest form here; the others are tested below.
  const serialNumber = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((octets) => octets.with(0, octets[0]! | 1));
  const second = fc.integer({ min: Date.UTC(1990, 0) / 1000, max: Date.UTC(2120, 0) / 1000 }).map((seconds) => seconds * 1000);
  const workloads: fc.Arbitrary<WorkloadFields> = fc.record({
    serialNumber,
    validity: fc.tuple(second, second).map(([one, other]) => ({ notBeforeMs: Math.min(one, other), notAfterMs: Math.max(one, other) })),
    key: fc.constantFrom(...Object.values(keys)),
    uri: fc.tuple(label, fc.array(segment, { minLength: 1, maxLength: 12 })).map(([domain, path]) => `spiffe://${domain}/${path.join("/")}`),
    dnsNames: fc.array(fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join(".")), { maxLength: 12 }),
  }).map(({ validity, key, ...rest }) => ({ ...rest, ...validity, spki: key.spki, subjectKeyIdentifier: key.keyIdentifier }));
  const signers = fc.constantFrom(...Object.values(keys));

  it("writes the bytes of @peculiar/x509", async () => {
    await fc.assert(fc.asyncProperty(workloads, signers, async (fields, signer) => {
      const template = { ...workloadTemplate, signatureAlgorithm: signer.signatureAlgorithm, authorityKeyIdentifier: signer.keyIdentifier };
      const tbs = compileTemplate(template)(fields);
      expect(hex(tbs)).toBe(await oracleTbs(generalFields(template, fields), { issuer: issuerName }));
    }), { numRuns: 200 });
  });

  it("writes the bytes of the general encoder", () => {
    const encode = compileTemplate(workloadTemplate);
    fc.assert(fc.property(workloads, fc.uint8Array({ minLength: 1, maxLength: 19 }), (fields, otherSerial) => {
      fc.pre(otherSerial.some((octet) => octet !== 0));
      for (const serial of [fields.serialNumber, otherSerial]) {
        const changed = { ...fields, serialNumber: serial };
        expect(hex(encode(changed))).toBe(hex(encodeTbs(generalFields(workloadTemplate, changed))));
      }
    }));
  });

  it("gives a certificate the CRL of its serial number modulo the shards, in the general encoder's bytes", () => {
    const revocationInfo = Array.from({ length: 8 }, (_, shard) => ({ crlUrl: `http://e/${shard}`, ocspUrl: "http://e/o", issuerUrl: "http://e/i" }));
    const sharded = { ...workloadTemplate, revocationInfo };
    const encode = compileTemplate(sharded);
    fc.assert(fc.property(workloads, (fields) => {
      expect(hex(encode(fields))).toBe(hex(encodeTbs(generalFields(sharded, fields))));
    }));
  });

  it("writes an X509-SVID as its rules say", () => {
    const tbs = compileTemplate(workloadTemplate)(workload);
    const certificate = parseCertificate(encodeCertificate(tbs, "ecdsa-sha256", signData("ecdsa-sha256", keys.p256.privateKey, tbs)));
    expect(certificate).toMatchObject({
      subjectEmpty: true, notBeforeMs: workload.notBeforeMs, notAfterMs: workload.notAfterMs, serialNumber: hex(workload.serialNumber),
      basicConstraints: { critical: true, certificateAuthority: false },
      keyUsage: { critical: true, digitalSignature: true, keyEncipherment: false, keyAgreement: false, keyCertSign: false, crlSign: false },
      extendedKeyUsage: { critical: false, purposes: [extKeyUsageOid.serverAuth, extKeyUsageOid.clientAuth] },
      subjectAltName: { critical: true, uris: [workload.uri], dnsNames: workload.dnsNames },
    });
    expect(hex(certificate.authorityKeyIdentifier!)).toBe(hex(keys.p384.keyIdentifier));
    expect(hex(certificate.subjectKeyIdentifier!)).toBe(hex(keys.p256.keyIdentifier));
    expect(hex(certificate.tbs)).toBe(hex(tbs));
    // CERT-24: cA FALSE is the default and so not spelled out.
    expect(hex(tbs)).toContain("0603551d130101ff04023000");
  });

  it("owns the bytes it returns, so nobody can change the template through them", () => {
    const encode = compileTemplate(workloadTemplate);
    const first = encode(workload);
    const before = hex(first);
    first.fill(0);
    expect(hex(encode(workload))).toBe(before);
  });
});

describe("the general encoder", () => {
  const root: TbsFields = {
    serialNumber: Uint8Array.of(1), signatureAlgorithm: "ecdsa-sha384", issuer: encodeName(rootName), subject: encodeName(rootName),
    notBeforeMs: nowMs, notAfterMs: Date.UTC(2056, 0, 1), spki: keys.p384.spki,
    extensions: {
      basicConstraints: { certificateAuthority: true }, keyUsage: ["keyCertSign", "crlSign"], subjectKeyIdentifier: keys.p384.keyIdentifier,
      subjectAltName: { uris: ["spiffe://east"] },
    },
  };
  const issuer: TbsFields = {
    ...root, serialNumber: Uint8Array.of(0x80, 1), subject: encodeName(issuerName), notAfterMs: nowMs + 48 * 3_600_000, spki: keys.p256.spki,
    extensions: {
      basicConstraints: { certificateAuthority: true, pathLength: 0 }, keyUsage: ["digitalSignature", "keyCertSign", "crlSign"],
      nameConstraints: {
        permitted: { uris: ["east"], dnsNames: ["east.example", "svc"] },
        excluded: { ipRanges: [parseIpRange("0.0.0.0/0"), parseIpRange("::/0")] },
      },
      authorityKeyIdentifier: keys.p384.keyIdentifier, subjectKeyIdentifier: keys.p256.keyIdentifier,
    },
  };

  it.each<[string, TbsFields, { issuer: NameFields; subject: NameFields }]>([
    ["a root", root, { issuer: rootName, subject: rootName }],
    ["an issuer with name constraints", issuer, { issuer: rootName, subject: issuerName }],
    ["an issuer of RSA with extKeyUsage and no constraints",
      { ...issuer, signatureAlgorithm: "rsa-sha256", spki: keys.rsa.spki, extensions: { ...issuer.extensions, nameConstraints: undefined, extKeyUsage: ["serverAuth", "clientAuth"] } },
      { issuer: rootName, subject: issuerName }],
    ["a name beyond ASCII", { ...root, issuer: encodeName({ commonName: "\u00dcml\u00e4ut \u{1f512}" }) }, { issuer: { commonName: "\u00dcml\u00e4ut \u{1f512}" }, subject: rootName }],
  ])("writes the bytes of @peculiar/x509 for %s", async (_, fields, names) => {
    expect(hex(encodeTbs(fields))).toBe(await oracleTbs(fields, names));
  });

  const serialInteger = (serialNumber: Uint8Array): string => {
    const encoded = hex(encodeTbs({ ...root, serialNumber }));
    const start = encoded.indexOf("a003020102") + 10;
    return encoded.slice(start, start + 4 + 2 * Number.parseInt(encoded.slice(start + 2, start + 4), 16));
  };

  it.each<[string, string, string]>([
    ["gets a sign octet if its first bit is 1", `80${"00".repeat(15)}`, `02110080${"00".repeat(15)}`],
    ["gets none otherwise", `7f${"ff".repeat(15)}`, `02107f${"ff".repeat(15)}`],
    ["loses leading zeros", "000000ff", "020200ff"],
    ["has up to 20 octets", `7f${"00".repeat(19)}`, `02147f${"00".repeat(19)}`],
  ])("a serial number %s", (_, serial, expected) => {
    expect(serialInteger(Buffer.from(serial, "hex"))).toBe(expected);
  });

  it.each<[string, Partial<TbsFields>]>([
    ["serial number 0", { serialNumber: new Uint8Array(16) }],
    ["an empty serial number", { serialNumber: new Uint8Array(0) }],
    ["a serial number of 20 octets that needs a sign octet", { serialNumber: new Uint8Array(20).fill(0x80) }],
    ["a serial number of 21 octets", { serialNumber: new Uint8Array(21).fill(1) }],
    ["a serial number of 200 octets", { serialNumber: new Uint8Array(200).fill(1) }],
    ["an end before the beginning", { notAfterMs: nowMs - 1 }],
    ["no end", { notAfterMs: Number.NaN }],
    ["the year 10000", { notAfterMs: Date.UTC(10_000, 0) }],
    ["an issuer without name", { issuer: emptyName }],
    ["no name at all", { subject: emptyName, extensions: { keyUsage: ["keyCertSign"] } }],
    ["no extension at all", { extensions: {} }],
  ])("does not write %s", (_, fault) => {
    expect(() => encodeTbs({ ...root, ...fault })).toThrow(RangeError);
  });

  it("does not compile a template without an issuer", () => {
    expect(() => compileTemplate({ ...workloadTemplate, issuer: emptyName })).toThrow(RangeError);
  });
});

describe("a name", () => {
  it.each<[string, NameFields]>([
    ["an empty common name", { commonName: "" }],
    ["a common name of 65 characters", { commonName: "x".repeat(65) }],
    ["an organization of 65 characters", { commonName: "x", organization: "x".repeat(65) }],
    ["an empty serial number", { commonName: "x", serialNumber: "" }],
    ["a serial number that is no PrintableString", { commonName: "x", serialNumber: "a@b" }],
  ])("is not written for %s", (_, fields) => {
    expect(() => encodeName(fields)).toThrow(RangeError);
  });

  it("counts characters, not UTF-16 halves", () => {
    expect(() => encodeName({ commonName: "\u{1f512}".repeat(64) })).not.toThrow();
  });
});

describe.skipIf(!opensslAvailable)("openssl", () => {
  const algorithms: Record<keyof typeof keys, KeyAlgorithm> = { p256: "ec-p256", p384: "ec-p384", ed25519: "ed25519", rsa: "rsa-2048" };
  const validity = { notBeforeMs: Date.now() - 20_000, notAfterMs: Date.now() + 3_600_000 };
  type Signer = (typeof keys)[keyof typeof keys];

  const sign = (tbs: Uint8Array, { signatureAlgorithm, privateKey }: { signatureAlgorithm: SignatureAlgorithm; privateKey: KeyObject }): Uint8Array =>
    encodeCertificate(tbs, signatureAlgorithm, signData(signatureAlgorithm, privateKey, tbs));

  function chainOf(root: Signer, issuer: Signer, fields: Partial<WorkloadFields> = {}, nameConstraints?: TbsFields["extensions"]["nameConstraints"]) {
    const ca = { ...validity, signatureAlgorithm: root.signatureAlgorithm, issuer: encodeName(rootName) };
    const rootCertificate = sign(encodeTbs({
      ...ca, serialNumber: Uint8Array.of(1), subject: encodeName(rootName), spki: root.spki,
      extensions: { basicConstraints: { certificateAuthority: true }, keyUsage: ["keyCertSign", "crlSign"], subjectKeyIdentifier: root.keyIdentifier },
    }), root);
    const issuerCertificate = sign(encodeTbs({
      ...ca, serialNumber: Uint8Array.of(0x80, 0), subject: encodeName(issuerName), spki: issuer.spki,
      extensions: {
        basicConstraints: { certificateAuthority: true, pathLength: 0 }, keyUsage: ["keyCertSign", "crlSign"],
        ...(nameConstraints && { nameConstraints }), authorityKeyIdentifier: root.keyIdentifier, subjectKeyIdentifier: issuer.keyIdentifier,
      },
    }), root);
    const template = { ...workloadTemplate, signatureAlgorithm: issuer.signatureAlgorithm, authorityKeyIdentifier: issuer.keyIdentifier };
    const leafCertificate = sign(compileTemplate(template)({ ...workload, ...validity, ...fields }), issuer);
    const pem = (der: Uint8Array): string => encodePem("CERTIFICATE", der);
    return { leafCertificate, files: { "root.pem": pem(rootCertificate), "issuer.pem": pem(issuerCertificate), "leaf.pem": pem(leafCertificate) } };
  }

  const verify = (files: Record<string, string>, purpose: string) =>
    openssl(["verify", "-x509_strict", "-purpose", purpose, "-CAfile", "root.pem", "-untrusted", "issuer.pem", "leaf.pem"], files);

  it.each(Object.keys(keys) as (keyof typeof keys)[])("accepts a chain whose CA keys are of the kind %s, as client and server", (kind) => {
    expect(algorithms[kind]).toBeDefined();
    const { files } = chainOf(keys[kind], keys[kind]);
    for (const purpose of ["sslclient", "sslserver"]) expect(verify(files, purpose)).toMatchObject({ ok: true, stdout: "leaf.pem: OK\n" });
  });

  it("applies our name constraints", () => {
    const constraints = { permitted: { uris: ["east"], dnsNames: ["svc"] }, excluded: { ipRanges: [parseIpRange("0.0.0.0/0")] } };
    const outcome = (fields: Partial<WorkloadFields>): boolean => verify(chainOf(keys.p384, keys.p256, fields, constraints).files, "sslserver").ok;
    expect(outcome({})).toBe(true);
    expect(outcome({ uri: "spiffe://west/ns/shop/sa/cart" })).toBe(false);
    expect(outcome({ dnsNames: ["cart.shop.example"] })).toBe(false);
  });

  it("shows what we meant, in a workload certificate", () => {
    const { files, leafCertificate } = chainOf(keys.p384, keys.p256);
    const { stdout } = openssl(["x509", "-in", "leaf.pem", "-noout", "-text"], files);
    const lines = stdout.split("\n").map((line) => line.trim());
    expect(lines).toEqual(expect.arrayContaining([
      "Version: 3 (0x2)", "Subject:", "Signature Algorithm: ecdsa-with-SHA256", "Public-Key: (256 bit)", "ASN1 OID: prime256v1",
      "X509v3 Basic Constraints: critical", "CA:FALSE", "X509v3 Key Usage: critical", "Digital Signature",
      "X509v3 Extended Key Usage:", "TLS Web Server Authentication, TLS Web Client Authentication",
      "X509v3 Subject Alternative Name: critical", "URI:spiffe://east/ns/shop/sa/cart, DNS:cart.shop.svc",
    ]));
    expect(stdout).toMatch(/Issuer: O ?= ?Countersign, CN ?= ?east issuer, serialNumber ?= ?7f-3A/);
    expect(new X509Certificate(leafCertificate).subjectAltName).toBe("URI:spiffe://east/ns/shop/sa/cart, DNS:cart.shop.svc");
  });
});
