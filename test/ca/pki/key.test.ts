import { createHash, generateKeyPairSync, type KeyObject } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeBitString, encodeDer, encodeNull, encodeOid, encodeSequence, encodeSmallInteger, encodeUnsignedInteger } from "../../../ca/pki/der-encoding.ts";
import { tag } from "../../../ca/pki/der-tag.ts";
import {
  describeSpki, encodeSignatureAlgorithm, importPublicKey, parseSignatureAlgorithm, signatureAlgorithmFor, signData,
  subjectKeyIdentifier, verifySignature, type KeyAlgorithm, type SignatureAlgorithm,
} from "../../../ca/pki/key.ts";
import { keyOid, signatureOid } from "../../../ca/pki/oid.ts";
import { outcomeOf } from "../../support/outcome.ts";

type KeyPair = { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
const pairs: Record<KeyAlgorithm, KeyPair> = {
  "ec-p256": generateKeyPairSync("ec", { namedCurve: "P-256" }),
  "ec-p384": generateKeyPairSync("ec", { namedCurve: "P-384" }),
  ed25519: generateKeyPairSync("ed25519"),
  "rsa-2048": generateKeyPairSync("rsa", { modulusLength: 2048 }),
  "rsa-3072": generateKeyPairSync("rsa", { modulusLength: 3072 }),
  "rsa-4096": generateKeyPairSync("rsa", { modulusLength: 4096 }),
};
const keyAlgorithms = Object.keys(pairs) as KeyAlgorithm[];
const signatureAlgorithms: SignatureAlgorithm[] = ["ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512", "ed25519", "rsa-sha256", "rsa-sha384", "rsa-sha512"];
const spkiOf = (key: KeyObject): Buffer => key.export({ format: "der", type: "spki" });
const data = Buffer.from("to be signed");

const rsaAlgorithm = encodeSequence(encodeOid(keyOid.rsaEncryption), encodeNull());
const oddModulus = (bits: number): Uint8Array => {
  const modulus = new Uint8Array(Math.ceil(bits / 8)).fill(0xff);
  modulus[0] = 0xff >> (modulus.length * 8 - bits);
  return modulus;
};
const rsaKey = (modulus: Uint8Array, exponent: Uint8Array): Uint8Array =>
  encodeSequence(encodeUnsignedInteger(modulus), encodeUnsignedInteger(exponent));
const rsaSpki = (modulus: Uint8Array, exponent: Uint8Array = Uint8Array.of(1, 0, 1), algorithm = rsaAlgorithm): Uint8Array =>
  encodeSequence(algorithm, encodeBitString(rsaKey(modulus, exponent)));

const p256Algorithm = encodeSequence(encodeOid(keyOid.ecPublicKey), encodeOid(keyOid.prime256v1));
const p256Point = spkiOf(pairs["ec-p256"].publicKey).subarray(-65);
const ed25519Bytes = spkiOf(pairs.ed25519.publicKey).subarray(-32);
const ecSpki = (point: Uint8Array, algorithm = p256Algorithm): Uint8Array => encodeSequence(algorithm, encodeBitString(point));
const compressed = Uint8Array.of(2 + (p256Point[64]! & 1), ...p256Point.subarray(1, 33));
const offCurve = Uint8Array.from(p256Point, (octet, index) => (index === 64 ? octet ^ 1 : octet));

describe("a public key", () => {
  it.each(keyAlgorithms)("%s is recognized and usable", (keyAlgorithm) => {
    const spki = spkiOf(pairs[keyAlgorithm].publicKey);
    expect(describeSpki(spki)).toEqual({ keyAlgorithm });
    const imported = importPublicKey(spki);
    expect(imported.keyAlgorithm).toBe(keyAlgorithm);
    expect(imported.publicKey.equals(pairs[keyAlgorithm].publicKey)).toBe(true);
  });

  it.each<[string, string, Uint8Array]>([
    ["public_key_unsupported", "P-521", spkiOf(generateKeyPairSync("ec", { namedCurve: "P-521" }).publicKey)],
    ["public_key_unsupported", "secp256k1", spkiOf(generateKeyPairSync("ec", { namedCurve: "secp256k1" }).publicKey)],
    ["public_key_unsupported", "X25519", spkiOf(generateKeyPairSync("x25519").publicKey)],
    ["public_key_unsupported", "Ed448", spkiOf(generateKeyPairSync("ed448").publicKey)],
    ["public_key_unsupported", "RSA-PSS", spkiOf(generateKeyPairSync("rsa-pss", { modulusLength: 2048 }).publicKey)],
    ["public_key_unsupported", "a curve spelled out",
      spkiOf(generateKeyPairSync("ec", { namedCurve: "P-256", paramEncoding: "explicit" }).publicKey)],
    ["public_key_unsupported", "a compressed point", ecSpki(compressed)],
    ["public_key_unsupported", "the hybrid form of a point", ecSpki(Uint8Array.of(6 + (p256Point[64]! & 1), ...p256Point.subarray(1)))],
    ["public_key_unsupported", "the point at infinity", ecSpki(Uint8Array.of(0))],
    ["public_key_unsupported", "a P-256 point under P-384",
      ecSpki(p256Point, encodeSequence(encodeOid(keyOid.ecPublicKey), encodeOid(keyOid.secp384r1)))],
    ["public_key_unsupported", "an EC key without curve", ecSpki(p256Point, encodeSequence(encodeOid(keyOid.ecPublicKey)))],
    ["public_key_invalid", "a point off the curve", ecSpki(offCurve)],
    ["public_key_invalid", "a coordinate beyond the field", ecSpki(Uint8Array.of(4, ...new Uint8Array(64).fill(0xff)))],
    ["public_key_invalid", "Ed25519 with parameters", ecSpki(ed25519Bytes, encodeSequence(encodeOid(keyOid.ed25519), encodeNull()))],
    ["public_key_invalid", "Ed25519 of 31 bytes", ecSpki(ed25519Bytes.subarray(1), encodeSequence(encodeOid(keyOid.ed25519)))],
    ["public_key_weak", "RSA of 1024 bits", spkiOf(generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey)],
    ["public_key_weak", "RSA of 2047 bits", rsaSpki(oddModulus(2047))],
    ["public_key_weak", "a modulus of zero", rsaSpki(Uint8Array.of(0))],
    ["public_key_weak", "an even modulus", rsaSpki(oddModulus(2048).fill(0xfe, -1))],
    ["public_key_weak", "exponent 1", rsaSpki(oddModulus(2048), Uint8Array.of(1))],
    ["public_key_weak", "exponent 3", rsaSpki(oddModulus(2048), Uint8Array.of(3))],
    ["public_key_weak", "exponent 65535", rsaSpki(oddModulus(2048), Uint8Array.of(0xff, 0xff))],
    ["public_key_weak", "an even exponent", rsaSpki(oddModulus(2048), Uint8Array.of(1, 0, 2))],
    ["public_key_unsupported", "an exponent of 40 bits", rsaSpki(oddModulus(2048), Uint8Array.of(1, 0, 0, 0, 1))],
    ["public_key_unsupported", "RSA of 2056 bits", rsaSpki(oddModulus(2056))],
    ["public_key_unsupported", "RSA of 8192 bits", rsaSpki(oddModulus(8192))],
    ["public_key_invalid", "a negative modulus", encodeSequence(rsaAlgorithm, encodeBitString(
      encodeSequence(encodeDer(tag.integer, oddModulus(2048).fill(0x80, 0, 1)), encodeSmallInteger(65537))))],
    ["public_key_invalid", "RSA without NULL", rsaSpki(oddModulus(2048), undefined, encodeSequence(encodeOid(keyOid.rsaEncryption)))],
    ["public_key_invalid", "RSA with other parameters",
      rsaSpki(oddModulus(2048), undefined, encodeSequence(encodeOid(keyOid.rsaEncryption), encodeSequence()))],
    ["der_malformed", "RSA numbers followed by a third", encodeSequence(rsaAlgorithm, encodeBitString(
      encodeSequence(encodeUnsignedInteger(oddModulus(2048)), encodeSmallInteger(65537), encodeNull())))],
    ["der_malformed", "a byte behind it", Buffer.concat([spkiOf(pairs["ec-p256"].publicKey), Buffer.of(0)])],
    ["der_malformed", "three parts", encodeSequence(p256Algorithm, encodeBitString(p256Point), encodeNull())],
    ["der_malformed", "two parameters",
      ecSpki(p256Point, encodeSequence(encodeOid(keyOid.ecPublicKey), encodeOid(keyOid.prime256v1), encodeNull()))],
    ["der_malformed", "key bits with an unused one", encodeSequence(p256Algorithm, encodeDer(tag.bitString, Uint8Array.of(1), new Uint8Array(65)))],
    ["der_malformed", "nothing", new Uint8Array(0)],
  ])("is refused with %s for %s", (code, _, spki) => {
    expect(outcomeOf(() => importPublicKey(spki))).toBe(code);
  });

  it("with any byte changed is refused with a code or is another valid key", () => {
    for (const keyAlgorithm of ["ec-p256", "ed25519", "rsa-2048"] as const) {
      const spki = spkiOf(pairs[keyAlgorithm].publicKey);
      fc.assert(fc.property(fc.nat(spki.length - 1), fc.integer({ min: 1, max: 255 }), (place, change) => {
        const changed = Buffer.from(spki);
        changed[place]! ^= change;
        if (outcomeOf(() => importPublicKey(changed)) === "accepted") expect(importPublicKey(changed).keyAlgorithm).toBe(keyAlgorithm);
      }), { numRuns: 500 });
    }
  });
});

describe("a key identifier", () => {
  it.each(keyAlgorithms)("of %s is 160 bits of SHA-256 over the key bits alone", (keyAlgorithm) => {
    const { publicKey } = pairs[keyAlgorithm];
    // The key bits by another way: the point from the JWK, the PKCS#1 export.
    const { x = "", y = "" } = publicKey.export({ format: "jwk" });
    const octets = (text: string): Buffer => Buffer.from(text, "base64url");
    const keyBits = keyAlgorithm.startsWith("rsa") ? publicKey.export({ format: "der", type: "pkcs1" })
      : keyAlgorithm === "ed25519" ? octets(x) : Buffer.concat([Buffer.of(4), octets(x), octets(y)]);
    const expected = createHash("sha256").update(keyBits).digest("hex").slice(0, 40);
    expect(Buffer.from(subjectKeyIdentifier(spkiOf(publicKey))).toString("hex")).toBe(expected);
  });

  it("of something else is refused", () => {
    for (const spki of [new Uint8Array(0), encodeNull(), encodeSequence(), encodeSequence(p256Algorithm, encodeBitString(p256Point), encodeNull())]) {
      expect(outcomeOf(() => subjectKeyIdentifier(spki))).toBe("der_malformed");
    }
  });
});

describe("a signature algorithm", () => {
  it.each(signatureAlgorithms)("%s comes back", (algorithm) => {
    expect(parseSignatureAlgorithm(encodeSignatureAlgorithm(algorithm))).toBe(algorithm);
  });

  it.each<[string, Uint8Array]>([
    ["ECDSA with NULL parameters", encodeSequence(encodeOid(signatureOid.ecdsaWithSha256), encodeNull())],
    ["Ed25519 with NULL parameters", encodeSequence(encodeOid(signatureOid.ed25519), encodeNull())],
    ["RSA without parameters", encodeSequence(encodeOid(signatureOid.sha256WithRsaEncryption))],
    ["RSA with an empty SEQUENCE", encodeSequence(encodeOid(signatureOid.sha256WithRsaEncryption), encodeSequence())],
    ["ECDSA with SHA-1", encodeSequence(encodeOid("1.2.840.10045.4.1"))],
    ["RSA with SHA-1", encodeSequence(encodeOid("1.2.840.113549.1.1.5"), encodeNull())],
    ["RSA with MD5", encodeSequence(encodeOid("1.2.840.113549.1.1.4"), encodeNull())],
    ["ECDSA with bytes behind it", Buffer.concat([encodeSignatureAlgorithm("ecdsa-sha256"), encodeNull()])],
    ["the key's algorithm instead of the signature's", p256Algorithm],
    ["nothing", new Uint8Array(0)],
  ])("%s is refused", (_, identifier) => {
    expect(outcomeOf(() => parseSignatureAlgorithm(identifier))).toBe("algorithm_unsupported");
  });

  it("follows from the key we sign with", () => {
    expect(keyAlgorithms.map(signatureAlgorithmFor))
      .toEqual(["ecdsa-sha256", "ecdsa-sha384", "ed25519", "rsa-sha256", "rsa-sha256", "rsa-sha256"]);
  });
});

describe("a signature", () => {
  const families: Record<string, KeyAlgorithm[]> = { ecdsa: ["ec-p256", "ec-p384"], ed25519: ["ed25519"], rsa: ["rsa-2048"] };
  const familyOf = (algorithm: SignatureAlgorithm): KeyAlgorithm[] => families[algorithm.split("-")[0] ?? ""] ?? [];

  it.each(signatureAlgorithms)("by %s holds for its data, its key and its algorithm only", (algorithm) => {
    for (const keyAlgorithm of familyOf(algorithm)) {
      const { publicKey, privateKey } = pairs[keyAlgorithm];
      const signature = signData(algorithm, privateKey, data);
      expect(verifySignature(algorithm, publicKey, data, signature)).toBe(true);
      expect(verifySignature(algorithm, publicKey, Buffer.from("other"), signature)).toBe(false);
      for (const other of signatureAlgorithms) {
        if (other !== algorithm) expect(verifySignature(other, publicKey, data, signature)).toBe(false);
      }
      for (const other of keyAlgorithms) {
        if (other !== keyAlgorithm) expect(verifySignature(algorithm, pairs[other].publicKey, data, signature)).toBe(false);
      }
    }
  });

  it("is not made with a key of another kind", () => {
    expect(() => signData("ecdsa-sha256", pairs.ed25519.privateKey, data)).toThrow(RangeError);
    expect(() => signData("ed25519", pairs["ec-p256"].privateKey, data)).toThrow(RangeError);
  });

  it("made of anything is false, never an exception", () => {
    fc.assert(fc.property(fc.constantFrom(...signatureAlgorithms), fc.uint8Array({ maxLength: 80 }), (algorithm, signature) => {
      for (const keyAlgorithm of ["ec-p256", "ed25519", "rsa-2048"] as const) {
        expect(verifySignature(algorithm, pairs[keyAlgorithm].publicKey, data, signature)).toBe(false);
      }
    }));
  });

  it("with bytes behind it or in the BER form is false", () => {
    const { publicKey, privateKey } = pairs["ec-p256"];
    const signature = Buffer.from(signData("ecdsa-sha256", privateKey, data));
    expect(verifySignature("ecdsa-sha256", publicKey, data, Buffer.concat([signature, Buffer.of(0)]))).toBe(false);
    const longForm = Buffer.concat([Buffer.of(0x30, 0x81, signature.length - 2), signature.subarray(2)]);
    expect(verifySignature("ecdsa-sha256", publicKey, data, longForm)).toBe(false);
  });
});
