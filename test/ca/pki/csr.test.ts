import "reflect-metadata";
import { createPublicKey, generateKeyPairSync, KeyObject, webcrypto } from "node:crypto";
import {
  Extension, Pkcs10CertificateRequest, Pkcs10CertificateRequestGenerator, SubjectAlternativeNameExtension, type JsonGeneralNames,
} from "@peculiar/x509";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeCsr, parseCsr } from "../../../ca/pki/csr.ts";
import {
  encodeBitString, encodeBoolean, encodeDer, encodeIa5String, encodeNull, encodeOctetString, encodeOid, encodeSequence, encodeSetOf,
  encodeSmallInteger, encodeUtf8String,
} from "../../../ca/pki/der-encoding.ts";
import { context, contextConstructed, tag } from "../../../ca/pki/der-tag.ts";
import { encodedOf, readDer, readerOf } from "../../../ca/pki/der.ts";
import { encodeSignatureAlgorithm, signData, type KeyAlgorithm, type SignatureAlgorithm } from "../../../ca/pki/key.ts";
import { extensionOid, extensionRequestOid, nameOid } from "../../../ca/pki/oid.ts";
import { decodePem, encodePem } from "../../../ca/pki/pem.ts";
import { encodeName } from "../../../ca/pki/tbs.ts";
import { openssl, opensslAvailable } from "../../support/openssl.ts";
import { outcomeOf } from "../../support/outcome.ts";

const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" });
const ed25519 = generateKeyPairSync("ed25519");
const spkiOf = (key: KeyObject): Buffer => key.export({ format: "der", type: "spki" });
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

const privateKeys: Record<KeyAlgorithm, KeyObject> = {
  "ec-p256": p256.privateKey,
  "ec-p384": generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey,
  ed25519: ed25519.privateKey,
  "rsa-2048": generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey,
  "rsa-3072": generateKeyPairSync("rsa", { modulusLength: 3072 }).privateKey,
  "rsa-4096": generateKeyPairSync("rsa", { modulusLength: 4096 }).privateKey,
};
const keyAlgorithms = Object.keys(privateKeys) as KeyAlgorithm[];
const uriSans = ["spiffe://east/ns/shop/sa/cart"];
const dnsSans = ["cart.shop.svc", "cart"];

describe("a certification request", () => {
  it.each(keyAlgorithms)("for a key of %s comes back", (keyAlgorithm) => {
    const privateKey = privateKeys[keyAlgorithm];
    const csr = parseCsr(encodeCsr({ privateKey, uriSans, dnsSans }));
    expect(csr).toMatchObject({ keyAlgorithm, uriSans, dnsSans });
    expect(hex(csr.spki)).toBe(hex(spkiOf(createPublicKey(privateKey))));
    expect(hex(csr.subject)).toBe("3000");
  });

  it("for a key nobody should certify is not even made", () => {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
    expect(outcomeOf(() => encodeCsr({ privateKey }))).toBe("public_key_weak");
  });

  it("for another's key is refused: who asks must hold the key", () => {
    const other = generateKeyPairSync("ec", { namedCurve: "P-256" });
    expect(outcomeOf(() => parseCsr(encodeCsr({ privateKey: p256.privateKey, publicKey: other.publicKey })))).toBe("csr_signature_invalid");
  });

  it("with any single bit changed is refused", () => {
    const der = encodeCsr({ privateKey: ed25519.privateKey, uriSans, dnsSans });
    for (let bit = 0; bit < der.length * 8; bit++) {
      const changed = Uint8Array.from(der);
      changed[bit >> 3]! ^= 0x80 >> (bit & 7);
      expect([bit, outcomeOf(() => parseCsr(changed))]).not.toEqual([bit, "accepted"]);
    }
  });

  it("cut off anywhere, or with bytes behind it, is refused", () => {
    const der = encodeCsr({ privateKey: p256.privateKey, uriSans });
    for (let length = 0; length < der.length; length++) {
      expect([length, outcomeOf(() => parseCsr(der.subarray(0, length)))]).toEqual([length, "der_malformed"]);
    }
    expect(outcomeOf(() => parseCsr(Buffer.concat([der, Buffer.of(0)])))).toBe("der_malformed");
  });

  it("of more than 8 KiB is refused before it is read", () => {
    const many = Array.from({ length: 300 }, (_, index) => `a${index}.${"b".repeat(40)}.svc`);
    expect(outcomeOf(() => parseCsr(encodeCsr({ privateKey: p256.privateKey, dnsSans: many })))).toBe("der_limit_exceeded");
    expect(outcomeOf(() => parseCsr(new Uint8Array(8 * 1024 + 1)))).toBe("der_limit_exceeded");
  });

  it("made of anything is refused with a code, never with another exception", () => {
    const der = encodeCsr({ privateKey: ed25519.privateKey, uriSans, dnsSans });
    const change = fc.record({ place: fc.nat(der.length - 1), octet: fc.nat(255) });
    fc.assert(fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
      const changed = Uint8Array.from(der);
      for (const { place, octet } of changes) changed[place] = octet;
      if (outcomeOf(() => parseCsr(changed)) === "accepted") expect(hex(changed)).toBe(hex(der));
    }), { numRuns: 2000 });
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(outcomeOf(() => parseCsr(bytes))).not.toBe("accepted");
    }));
  });
});

// ---- one fault a row: a request built by hand, properly signed over its fault ----

interface Parts {
  readonly version?: Uint8Array;
  readonly subject?: Uint8Array;
  readonly spki?: Uint8Array;
  readonly attributes?: Uint8Array;
  readonly behind?: Uint8Array;
  readonly algorithm?: SignatureAlgorithm;
  readonly algorithmIdentifier?: Uint8Array;
  readonly signature?: (signature: Uint8Array) => Uint8Array;
}

function build(parts: Parts = {}): Uint8Array {
  const { algorithm = "ecdsa-sha256", behind = new Uint8Array(0) } = parts;
  const info = encodeSequence(
    parts.version ?? encodeSmallInteger(0), parts.subject ?? encodeSequence(), parts.spki ?? spkiOf(p256.publicKey),
    parts.attributes ?? request(san(uri)), behind,
  );
  const signature = encodeBitString(signData(algorithm, p256.privateKey, info));
  return encodeSequence(info, parts.algorithmIdentifier ?? encodeSignatureAlgorithm(algorithm), parts.signature?.(signature) ?? signature);
}

const attributesOf = (...attributes: Uint8Array[]): Uint8Array => encodeDer(contextConstructed(0), ...attributes);
const attribute = (oid: string, ...values: Uint8Array[]): Uint8Array => encodeSequence(encodeOid(oid), encodeDer(tag.set, ...values));
const request = (...extensions: Uint8Array[]): Uint8Array => attributesOf(attribute(extensionRequestOid, encodeSequence(...extensions)));
const extension = (oid: string, ...rest: Uint8Array[]): Uint8Array => encodeSequence(encodeOid(oid), ...rest);
const san = (...names: Uint8Array[]): Uint8Array => extension(extensionOid.subjectAltName, encodeOctetString(encodeSequence(...names)));
const uri = encodeIa5String("spiffe://east/a", context(6));
const challengePassword = attribute("1.2.840.113549.1.9.7", encodeUtf8String("secret"));
const keyUsage = extension(extensionOid.keyUsage, encodeBoolean(true), encodeOctetString(encodeDer(tag.bitString, Uint8Array.of(1, 6))));

describe("a request", () => {
  it.each<[string, Parts, Partial<ReturnType<typeof parseCsr>>]>([
    ["without names", { attributes: attributesOf() }, { uriSans: [], dnsSans: [] }],
    ["with a subject", { subject: encodeName({ commonName: "cart" }) }, { subject: encodeName({ commonName: "cart" }) }],
    ["signed with SHA-384 by a P-256 key", { algorithm: "ecdsa-sha384" }, { signatureAlgorithm: "ecdsa-sha384" }],
    ["with an unknown attribute, ignored", { attributes: attributesOf(challengePassword) }, { uriSans: [] }],
    ["with the wish to be a CA, ignored", { attributes: request(keyUsage, san(uri)) }, { uriSans: ["spiffe://east/a"] }],
    ["with an unknown critical extension, ignored",
      { attributes: request(extension("1.2.3", encodeBoolean(true), encodeOctetString(encodeNull())), san(uri)) }, { uriSans: ["spiffe://east/a"] }],
    ["with an IP address and an e-mail address, ignored", { attributes: request(san(
      encodeDer(context(7), Uint8Array.of(10, 0, 0, 1)), encodeIa5String("a@b.c", context(1)), encodeIa5String("b.c", context(2)))) },
    { uriSans: [], dnsSans: ["b.c"] }],
    ["with two URIs, for the issuing side to refuse", { attributes: request(san(uri, uri)) }, { uriSans: ["spiffe://east/a", "spiffe://east/a"] }],
  ])("%s is read", (_, parts, expected) => {
    expect(parseCsr(build(parts))).toMatchObject(expected);
  });

  it.each<[string, string, Parts]>([
    ["csr_malformed", "version 1", { version: encodeSmallInteger(1) }],
    ["der_malformed", "a version of another type", { version: encodeNull() }],
    ["der_malformed", "a subject that is a SET", { subject: encodeSetOf() }],
    ["der_malformed", "a subject with an empty part", { subject: encodeSequence(encodeSetOf()) }],
    ["der_malformed", "a subject with half an attribute", { subject: encodeSequence(encodeSetOf(encodeSequence(encodeOid(nameOid.commonName)))) }],
    ["public_key_unsupported", "a P-521 key", { spki: spkiOf(generateKeyPairSync("ec", { namedCurve: "P-521" }).publicKey) }],
    ["public_key_weak", "RSA of 1024 bits", { spki: spkiOf(generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey) }],
    ["public_key_invalid", "a point off the curve", { spki: Uint8Array.from(spkiOf(p256.publicKey), (octet, index) => (index === 90 ? octet ^ 1 : octet)) }],
    ["csr_signature_invalid", "a key of another kind", { spki: spkiOf(ed25519.publicKey) }],
    ["der_malformed", "no attributes field", { attributes: new Uint8Array(0) }],
    ["der_malformed", "a primitive attributes field", { attributes: encodeDer(context(0)) }],
    ["der_malformed", "something behind the attributes", { behind: encodeNull() }],
    ["der_malformed", "attributes that are not sorted", { attributes: attributesOf(attribute("1.2.4", encodeNull()), attribute("1.2.3", encodeNull())) }],
    ["csr_malformed", "extensions in two attributes", { attributes: attributesOf(...[0, 1].map(() => attribute(extensionRequestOid, encodeSequence(san(uri))))) }],
    ["csr_malformed", "extensions twice in one attribute",
      { attributes: attributesOf(attribute(extensionRequestOid, encodeSequence(san(uri)), encodeSequence(san(uri)))) }],
    ["csr_malformed", "an attribute without extensions", { attributes: attributesOf(attribute(extensionRequestOid)) }],
    ["csr_malformed", "an empty list of extensions", { attributes: request() }],
    ["csr_malformed", "an extension twice", { attributes: request(san(uri), san(uri)) }],
    ["csr_malformed", "an ignored extension twice", { attributes: request(keyUsage, keyUsage) }],
    ["csr_malformed", "critical FALSE spelled out",
      { attributes: request(extension(extensionOid.keyUsage, encodeBoolean(false), encodeOctetString(encodeNull()))) }],
    ["der_malformed", "an extension with a part too many", { attributes: request(extension("1.2.3", encodeOctetString(encodeNull()), encodeNull())) }],
    ["der_malformed", "an extension without value", { attributes: request(extension("1.2.3")) }],
    ["der_malformed", "an attribute with a part too many",
      { attributes: attributesOf(encodeSequence(encodeOid("1.2.3"), encodeSetOf(), encodeNull())) }],
    ["certificate_extension_invalid", "an empty subjectAltName", { attributes: request(san()) }],
    ["der_malformed", "bytes behind the subjectAltName", { attributes: request(extension(extensionOid.subjectAltName,
      encodeOctetString(Buffer.concat([encodeSequence(uri), Buffer.of(0)])))) }],
    ["der_malformed", "a URI beyond ASCII", { attributes: request(san(encodeDer(context(6), Buffer.from("spiffe://east/\u00e9")))) }],
    ["certificate_extension_invalid", "a URI with a NUL", { attributes: request(san(encodeIa5String("spiffe://east/a\0b", context(6)))) }],
    ["certificate_extension_invalid", "a DNS name with a NUL", { attributes: request(san(encodeIa5String("a\0b", context(2)))) }],
    ["certificate_extension_invalid", "a name of no known kind", { attributes: request(san(encodeIa5String("a", context(9)))) }],
    ["certificate_extension_invalid", "a constructed URI", { attributes: request(san(encodeDer(contextConstructed(6), uri))) }],
    ["algorithm_unsupported", "ECDSA with NULL parameters",
      { algorithmIdentifier: encodeSequence(encodeOid("1.2.840.10045.4.3.2"), encodeNull()) }],
    ["algorithm_unsupported", "ECDSA with SHA-1", { algorithmIdentifier: encodeSequence(encodeOid("1.2.840.10045.4.1")) }],
    ["csr_signature_invalid", "another algorithm than it is signed with", { algorithmIdentifier: encodeSignatureAlgorithm("ecdsa-sha384") }],
    ["csr_signature_invalid", "the algorithm of another kind of key", { algorithmIdentifier: encodeSignatureAlgorithm("rsa-sha256") }],
    ["csr_signature_invalid", "an empty signature", { signature: () => encodeBitString(new Uint8Array(0)) }],
    ["der_malformed", "a signature that is an OCTET STRING", { signature: (signature) => Uint8Array.from(signature, (octet, index) => (index === 0 ? tag.octetString : octet)) }],
    ["der_malformed", "something behind the signature", { signature: (signature) => Buffer.concat([signature, encodeNull()]) }],
  ])("is refused with %s for %s", (code, _, parts) => {
    expect(outcomeOf(() => parseCsr(build(parts)))).toBe(code);
  });
});

describe("another implementation agrees:", () => {
  const names: JsonGeneralNames = [{ type: "url", value: uriSans[0]! }, ...dnsSans.map((value) => ({ type: "dns" as const, value }))];

  it.each<[KeyAlgorithm, webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams | webcrypto.Algorithm, webcrypto.Algorithm & { hash?: string }]>([
    ["ec-p256", { name: "ECDSA", namedCurve: "P-256" }, { name: "ECDSA", hash: "SHA-256" }],
    ["ec-p384", { name: "ECDSA", namedCurve: "P-384" }, { name: "ECDSA", hash: "SHA-384" }],
    ["ed25519", { name: "Ed25519" }, { name: "Ed25519" }],
    ["rsa-2048", { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength: 2048, publicExponent: Uint8Array.of(1, 0, 1) }, { name: "RSASSA-PKCS1-v1_5" }],
  ])("@peculiar/x509 reads and verifies ours, we read and verify its, for %s", async (keyAlgorithm, keyParameters, signingAlgorithm) => {
    const ours = new Pkcs10CertificateRequest(encodeCsr({ privateKey: privateKeys[keyAlgorithm], uriSans, dnsSans }) as Uint8Array<ArrayBuffer>);
    expect(await ours.verify()).toBe(true);
    expect(ours.subject).toBe("");
    const sanExtension = ours.getExtension(extensionOid.subjectAltName) as SubjectAlternativeNameExtension;
    expect(sanExtension.critical).toBe(true);
    expect(sanExtension.names.toJSON()).toEqual(names);

    const keys = await webcrypto.subtle.generateKey(keyParameters, true, ["sign", "verify"]) as webcrypto.CryptoKeyPair;
    const theirs = await Pkcs10CertificateRequestGenerator.create({
      name: "CN=cart", keys, signingAlgorithm,
      extensions: [new SubjectAlternativeNameExtension(names, true), new Extension("1.2.3", true, Buffer.from("0500", "hex"))],
    });
    expect(parseCsr(new Uint8Array(theirs.rawData))).toMatchObject({ keyAlgorithm, uriSans, dnsSans });
  });

  it("@peculiar/x509 writes the same signed part", async () => {
    const keys = await webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]) as webcrypto.CryptoKeyPair;
    const theirs = await Pkcs10CertificateRequestGenerator.create({
      keys, signingAlgorithm: { name: "ECDSA", hash: "SHA-256" }, extensions: [new SubjectAlternativeNameExtension(names, true)],
    });
    const ours = encodeCsr({ privateKey: KeyObject.from(keys.privateKey), uriSans, dnsSans });
    const signedPart = (der: Uint8Array): string => hex(encodedOf(readerOf(readDer(der), tag.sequence).next()));
    expect(signedPart(ours)).toBe(signedPart(new Uint8Array(theirs.rawData)));
  });

  it.skipIf(!opensslAvailable).each(keyAlgorithms)("openssl verifies ours for a key of %s", (keyAlgorithm) => {
    const pem = encodePem("CERTIFICATE REQUEST", encodeCsr({ privateKey: privateKeys[keyAlgorithm], uriSans, dnsSans }));
    const result = openssl(["req", "-in", "csr.pem", "-verify", "-noout", "-text"], { "csr.pem": pem });
    expect(result).toMatchObject({ ok: true, stderr: expect.stringContaining("verify OK") });
    expect(result.stdout).toMatch(/Subject Alternative Name: critical\s+URI:spiffe:\/\/east\/ns\/shop\/sa\/cart, DNS:cart.shop.svc, DNS:cart\n/);
  });

  it.skipIf(!opensslAvailable).each<[string, string[]]>([
    ["ec-p256", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]],
    ["ec-p384", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha256"]],
    ["ed25519", ["-newkey", "ed25519"]],
    ["rsa-2048", ["-newkey", "rsa:2048", "-sha512"]],
  ])("we read what openssl writes for a key of %s", (keyAlgorithm, args) => {
    const config = "[req]\ndistinguished_name=dn\nattributes=attrs\n[dn]\n[attrs]\nchallengePassword=a\n";
    const san = `subjectAltName=URI:${uriSans[0]},DNS:${dnsSans[0]},DNS:${dnsSans[1]},IP:10.0.0.1`;
    const { stdout } = openssl(
      ["req", "-new", "-config", "req.cnf", "-noenc", "-keyout", "key.pem", "-batch", "-subj", "/O=shop/CN=cart", ...args,
        "-addext", san, "-addext", "basicConstraints=critical,CA:true"],
      { "req.cnf": config },
    );
    const [der = new Uint8Array(0)] = decodePem(stdout, "CERTIFICATE REQUEST");
    expect(parseCsr(der)).toMatchObject({ keyAlgorithm, uriSans, dnsSans });
  });
});
