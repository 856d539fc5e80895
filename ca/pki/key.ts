import { createPublicKey, sign, verify, type KeyObject } from "node:crypto";
import { encodeDer, encodeNull, encodeOid, encodeSequence } from "./der-encoding.ts";
import { tag } from "./der-tag.ts";
import { contentOf, readDer, readerOf, readIntegerBytes, readOctetAlignedBitString, readOid } from "./der.ts";
import { PkiError } from "./errors.ts";
import { keyOid, signatureOid } from "./oid.ts";
import { sha256 } from "./sha256.ts";

/** The public keys we accept, certify and verify with. */
export type KeyAlgorithm = "ec-p256" | "ec-p384" | "ed25519" | "rsa-2048" | "rsa-3072" | "rsa-4096";

/** The signatures we make and accept. */
export type SignatureAlgorithm =
  | "ecdsa-sha256" | "ecdsa-sha384" | "ecdsa-sha512" | "ed25519" | "rsa-sha256" | "rsa-sha384" | "rsa-sha512";

/**
 * Names the key in a SubjectPublicKeyInfo: one of the encodings each algorithm has, uncompressed points on named curves,
 * RSA with an odd modulus and exponent. Whether an EC point lies on its curve is found by `importPublicKey`.
 * @throws {PkiError} der_malformed | public_key_unsupported | public_key_weak | public_key_invalid
 * @source RFC 5480, RFC 8410, RFC 3279; CA/Browser Forum BR 6.1.6
 */
export function describeSpki(spki: Uint8Array): { readonly keyAlgorithm: KeyAlgorithm } {
  for (const { keyAlgorithm, prefix, length } of fixedSpkis) {
    if (spki.length === length && startsWith(spki, prefix)) return { keyAlgorithm };
  }
  return { keyAlgorithm: describeOtherSpki(spki) };
}

/**
 * Makes the key usable; OpenSSL checks here that an EC point lies on its curve.
 * @throws {PkiError} as describeSpki
 */
export function importPublicKey(spki: Uint8Array): { readonly publicKey: KeyObject; readonly keyAlgorithm: KeyAlgorithm } {
  const { keyAlgorithm } = describeSpki(spki);
  try {
    const publicKey = createPublicKey({ key: spki as Buffer, format: "der", type: "spki" });
    return { publicKey, keyAlgorithm };
  } catch (cause) {
    throw keyInvalid(keyAlgorithm, cause);
  }
}

/**
 * Key identifier of a SubjectPublicKeyInfo: the leftmost 160 bits of SHA-256 over the key bits.
 * @throws {PkiError} der_malformed
 * @source RFC 7093 section 2, method 1
 */
export function subjectKeyIdentifier(spki: Uint8Array): Uint8Array {
  return sha256(keyBitsOf(spki)).subarray(0, keyIdentifierBytes);
}

/** The key itself in a SubjectPublicKeyInfo: what key identifiers are hashes of. @throws {PkiError} der_malformed */
export function keyBitsOf(spki: Uint8Array): Uint8Array {
  const reader = readerOf(readDer(spki), tag.sequence);
  reader.next(tag.sequence);
  const keyBits = readOctetAlignedBitString(reader.next());
  reader.done();
  return keyBits;
}

/** The signature algorithm we sign with when holding such a key. */
export function signatureAlgorithmFor(keyAlgorithm: KeyAlgorithm): SignatureAlgorithm {
  if (keyAlgorithm === "ec-p256") return "ecdsa-sha256";
  if (keyAlgorithm === "ec-p384") return "ecdsa-sha384";
  return keyAlgorithm === "ed25519" ? "ed25519" : "rsa-sha256";
}

/** The AlgorithmIdentifier in DER, for the signature fields of certificates, requests and CRLs. */
export function encodeSignatureAlgorithm(algorithm: SignatureAlgorithm): Uint8Array {
  return signatureSchemes[algorithm].identifier;
}

/**
 * Recognizes an AlgorithmIdentifier (whole element). ECDSA and Ed25519 have no parameters, RSA has NULL; else refused.
 * @throws {PkiError} algorithm_unsupported
 * @source RFC 5758, RFC 8410, RFC 4055
 */
export function parseSignatureAlgorithm(identifier: Uint8Array): SignatureAlgorithm {
  for (const [algorithm, scheme] of schemeEntries) {
    if (identifier.length === scheme.identifier.length && startsWith(identifier, scheme.identifier)) return algorithm;
  }
  throw new PkiError("algorithm_unsupported", `signature algorithm is none of ${schemeEntries.map(([name]) => name).join(", ")}`);
}

/** True if `signature` over `data` is by this key. False also when the algorithm does not go with the kind of key. */
export function verifySignature(
  algorithm: SignatureAlgorithm, publicKey: KeyObject, data: Uint8Array, signature: Uint8Array,
): boolean {
  const { digest, keyType } = signatureSchemes[algorithm];
  return publicKey.asymmetricKeyType === keyType && verify(digest, data, publicKey, signature);
}

/**
 * The same by a key that is used this once: making a key object of it costs more, and more again to collect.
 * @throws {PkiError} as importPublicKey
 */
export function verifySignatureBySpki(
  algorithm: SignatureAlgorithm, spki: Uint8Array, data: Uint8Array, signature: Uint8Array,
): { readonly valid: boolean; readonly keyAlgorithm: KeyAlgorithm } {
  const { keyAlgorithm } = describeSpki(spki);
  const { digest, keyType } = signatureSchemes[algorithm];
  if (!keyAlgorithm.startsWith(keyType)) return { valid: false, keyAlgorithm };
  try {
    return { valid: verify(digest, data, { key: spki as Buffer, format: "der", type: "spki" }, signature), keyAlgorithm };
  } catch (cause) {
    throw keyInvalid(keyAlgorithm, cause);
  }
}

/** Signs with a key in memory. @throws {RangeError} if the algorithm does not go with the kind of key */
export function signData(algorithm: SignatureAlgorithm, privateKey: KeyObject, data: Uint8Array): Uint8Array {
  const { digest, keyType } = signatureSchemes[algorithm];
  if (privateKey.asymmetricKeyType !== keyType) throw new RangeError(`${algorithm} takes a key of type ${keyType}`);
  return sign(digest, data, privateKey);
}

/** The same in a thread of libuv's, for data so long that hashing it would hold up everything else. */
export function signDataThreaded(algorithm: SignatureAlgorithm, privateKey: KeyObject, data: Uint8Array): Promise<Uint8Array> {
  const { digest } = signatureSchemes[algorithm];
  return new Promise((resolve, reject) => {
    sign(digest, data, privateKey, (error, signature) => error === null ? resolve(signature) : reject(error));
  });
}

/** RSA, and the reason why anything else is refused. */
function describeOtherSpki(spki: Uint8Array): KeyAlgorithm {
  const outer = readerOf(readDer(spki), tag.sequence);
  const algorithm = readerOf(outer.next(), tag.sequence);
  const oid = readOid(algorithm.next());
  const parameters = algorithm.finished ? undefined : algorithm.next();
  algorithm.done();
  const key = readOctetAlignedBitString(outer.next());
  outer.done();
  if (oid === keyOid.rsaEncryption) {
    if (parameters === undefined || parameters.tag !== tag.null || contentOf(parameters).length > 0) {
      throw new PkiError("public_key_invalid", "an RSA public key must have NULL as parameters");
    }
    return describeRsaKey(key);
  }
  if (oid === keyOid.ecPublicKey && parameters?.tag === tag.oid) {
    const curve = readOid(parameters);
    if (curve === keyOid.prime256v1 || curve === keyOid.secp384r1) {
      throw new PkiError("public_key_unsupported", "an EC public key must be an uncompressed point of its curve's length");
    }
  }
  if (oid === keyOid.ed25519) throw new PkiError("public_key_invalid", "an Ed25519 public key has 32 bytes and no parameters");
  throw new PkiError("public_key_unsupported", "public key is none of P-256, P-384, Ed25519, RSA");
}

function describeRsaKey(key: Uint8Array): KeyAlgorithm {
  const reader = readerOf(readDer(key), tag.sequence);
  const modulus = magnitudeOf(readIntegerBytes(reader.next()));
  const exponent = magnitudeOf(readIntegerBytes(reader.next()));
  reader.done();
  const bits = modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24;
  if (bits < 2048) throw new PkiError("public_key_weak", `RSA modulus of ${bits} bits; at least 2048 are needed`);
  if (((modulus.at(-1) ?? 0) & 1) === 0) throw new PkiError("public_key_weak", "RSA modulus is even");
  if (((exponent.at(-1) ?? 0) & 1) === 0) throw new PkiError("public_key_weak", "RSA exponent is even");
  if (exponent.length < 3) throw new PkiError("public_key_weak", "RSA exponent is not above 65536");
  if (exponent.length > maxRsaExponentBytes) {
    throw new PkiError("public_key_unsupported", `RSA exponent is longer than ${maxRsaExponentBytes * 8} bits`);
  }
  if (bits === 2048 || bits === 3072 || bits === 4096) return `rsa-${bits}`;
  throw new PkiError("public_key_unsupported", `RSA modulus of ${bits} bits; 2048, 3072 and 4096 are supported`);
}

/** Drops the sign octet of a positive INTEGER. */
function magnitudeOf(integer: Uint8Array): Uint8Array {
  if ((integer[0] ?? 0) >= 0x80) throw new PkiError("public_key_invalid", "RSA public key has a negative number");
  return integer[0] === 0 ? integer.subarray(1) : integer;
}

function keyInvalid(keyAlgorithm: KeyAlgorithm, cause: unknown): PkiError {
  return new PkiError("public_key_invalid", `the ${keyAlgorithm} public key is not valid, e.g. not a point of the curve`, { cause });
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  for (let index = 0; index < prefix.length; index++) if (bytes[index] !== prefix[index]) return false;
  return true;
}

/** Everything before the key itself is the same in every P-256, P-384 and Ed25519 key, so it is compared, not parsed. */
function fixedSpki(keyAlgorithm: KeyAlgorithm, algorithm: readonly string[], point: Uint8Array, keyBytes: number) {
  const bits = new Uint8Array(1 + point.length + keyBytes);
  bits.set(point, 1);
  const whole = encodeSequence(encodeSequence(...algorithm.map(encodeOid)), encodeDer(tag.bitString, bits));
  return { keyAlgorithm, prefix: whole.subarray(0, whole.length - keyBytes), length: whole.length };
}

const uncompressed = Uint8Array.of(0x04);
const fixedSpkis = [
  fixedSpki("ec-p256", [keyOid.ecPublicKey, keyOid.prime256v1], uncompressed, 64),
  fixedSpki("ec-p384", [keyOid.ecPublicKey, keyOid.secp384r1], uncompressed, 96),
  fixedSpki("ed25519", [keyOid.ed25519], new Uint8Array(0), 32),
] as const;

/** Parameters are NULL for RSA (RFC 4055 section 5) and absent for the others (RFC 5758 3.2, RFC 8410 3). */
function scheme(keyType: SignatureScheme["keyType"], digest: SignatureScheme["digest"], oid: string): SignatureScheme {
  const parameters = keyType === "rsa" ? [encodeNull()] : [];
  return { identifier: encodeSequence(encodeOid(oid), ...parameters), digest, keyType };
}

interface SignatureScheme {
  readonly identifier: Uint8Array;
  readonly digest: "sha256" | "sha384" | "sha512" | null;
  readonly keyType: "ec" | "ed25519" | "rsa";
}

const signatureSchemes: Record<SignatureAlgorithm, SignatureScheme> = {
  "ecdsa-sha256": scheme("ec", "sha256", signatureOid.ecdsaWithSha256),
  "ecdsa-sha384": scheme("ec", "sha384", signatureOid.ecdsaWithSha384),
  "ecdsa-sha512": scheme("ec", "sha512", signatureOid.ecdsaWithSha512),
  ed25519: scheme("ed25519", null, signatureOid.ed25519),
  "rsa-sha256": scheme("rsa", "sha256", signatureOid.sha256WithRsaEncryption),
  "rsa-sha384": scheme("rsa", "sha384", signatureOid.sha384WithRsaEncryption),
  "rsa-sha512": scheme("rsa", "sha512", signatureOid.sha512WithRsaEncryption),
};
const schemeEntries = Object.entries(signatureSchemes) as [SignatureAlgorithm, SignatureScheme][];

/** RFC 7093: 160 bits, as long as the SHA-1 identifiers everyone is used to. */
const keyIdentifierBytes = 20;
/** Far above 65537; a huge exponent only makes verifying slow. */
const maxRsaExponentBytes = 4;
