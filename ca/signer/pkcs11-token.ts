import { encodeBitString, encodeNull, encodeOctetString, encodeOid, encodeSequence, encodeUnsignedInteger } from "../pki/der-encoding.ts";
import { readDer, readOctetString } from "../pki/der.ts";
import { keyOid } from "../pki/oid.ts";
import type { Cryptoki } from "./cryptoki.ts";
import { SignerError } from "./errors.ts";
import type { OutsideAlgorithm } from "./outside.ts";
import type { Pkcs11Uri } from "./pkcs11-uri.ts";

export type TokenKey = Omit<Pkcs11Uri, "pinFile">;

/**
 * SubjectPublicKeyInfo of the key's public part.
 * @throws {SignerError} key_unknown | key_unfit | key_refused | signer_unavailable
 */
export function readPublicKey(cryptoki: Cryptoki, key: TokenKey, pin: string): Uint8Array {
  const session = openToken(cryptoki, key, pin);
  const object = findKey(cryptoki, session, key, objectClass.publicKey);
  const get = (type: number): Uint8Array => {
    const value = cryptoki.attribute(session, object, type);
    if (value === undefined) throw new SignerError("key_unfit", `the public key of ${key.text} has no attribute 0x${type.toString(16)}`);
    return value;
  };
  const keyType = Buffer.from(get(attribute.keyType)).readUInt8(0);
  if (keyType === keyTypes.rsa) {
    const numbers = [attribute.modulus, attribute.publicExponent].map((type) => encodeUnsignedInteger(withoutZeros(get(type))));
    return encodeSequence(encodeSequence(encodeOid(keyOid.rsaEncryption), encodeNull()), encodeBitString(encodeSequence(...numbers)));
  }
  if (keyType !== keyTypes.ec) throw new SignerError("key_unfit", `${key.text} is neither an EC nor an RSA key`);
  const algorithm = encodeSequence(encodeOid(keyOid.ecPublicKey), get(attribute.ecParameters));
  return encodeSequence(algorithm, encodeBitString(pointOf(get(attribute.ecPoint))));
}

/**
 * Signs a digest; ECDSA comes back as DER (r, s).
 * @throws {SignerError} key_unknown | key_unfit | key_refused | signer_unavailable
 */
export function signOnToken(cryptoki: Cryptoki, key: TokenKey, pin: string, algorithm: OutsideAlgorithm, digest: Uint8Array): Uint8Array {
  const session = openToken(cryptoki, key, pin);
  const object = findKey(cryptoki, session, key, objectClass.privateKey);
  const asksEachTime = cryptoki.attribute(session, object, attribute.alwaysAuthenticate)?.[0] === 1;
  const rsa = algorithm.startsWith("rsa");
  cryptoki.signInit(session, rsa ? mechanism.rsaPkcs : mechanism.ecdsa, object);
  if (asksEachTime) cryptoki.login(session, "context-specific", pin);
  if (rsa) return cryptoki.sign(session, digestInfo(algorithm, digest));
  const raw = cryptoki.sign(session, digest);
  const half = raw.length / 2;
  return encodeSequence(...[raw.subarray(0, half), raw.subarray(half)].map((number) => encodeUnsignedInteger(withoutZeros(number))));
}

/** A session on the one token that fits, with the user logged in. */
function openToken(cryptoki: Cryptoki, { text, token, serial, manufacturer, model }: TokenKey, pin: string): bigint {
  const tokens = cryptoki.slots().map((slot) => ({ slot, info: cryptoki.tokenInfo(slot) }));
  const fits = (wanted: string | undefined, found: string): boolean => wanted === undefined || wanted === found;
  const found = tokens.filter(({ info }) =>
    fits(token, info.label) && fits(serial, info.serial) && fits(manufacturer, info.manufacturer) && fits(model, info.model));
  const [only] = found;
  if (only === undefined) {
    const there = listed(tokens.map(({ info }) => info.label));
    throw new SignerError("signer_unavailable", `no token fits ${text}; there ${there}: is it plugged in, is the label right?`);
  }
  if (found.length > 1) throw new SignerError("key_location_malformed", `${found.length} tokens fit ${text}; tell them apart by serial=`);
  // The PIN may be wrong, and a wrong one now locks the token for good: that is for a person to do.
  if ((only.info.flags & pinFinalTry) !== 0n) {
    throw new SignerError(
      "key_refused",
      `the token "${only.info.label}" allows one more wrong PIN before it locks, or is locked; log in by hand once (pkcs11-tool ` +
        "--login) and start again",
    );
  }
  const session = cryptoki.openSession(only.slot);
  cryptoki.login(session, "user", pin);
  return session;
}

function findKey(cryptoki: Cryptoki, session: bigint, { text, object, id }: TokenKey, kind: number): bigint {
  const template: [number, Uint8Array][] = [[attribute.class, ulong(kind)]];
  if (object !== undefined) template.push([attribute.label, Buffer.from(object)]);
  if (id !== undefined) template.push([attribute.id, Buffer.from(id, "hex")]);
  const found = cryptoki.findObjects(session, template);
  const what = kind === objectClass.privateKey ? "private key" : "public key";
  if (found[0] === undefined) {
    throw new SignerError("key_unknown", `the token holds no ${what} for ${text}; list them with: pkcs11-tool --list-objects --login`);
  }
  if (found.length > 1) {
    throw new SignerError("key_location_malformed", `the token holds more than one ${what} for ${text}; tell them apart by id=`);
  }
  return found[0];
}

/** PKCS#11 2.3.3: the point as OCTET STRING; some modules leave the wrapping out. */
function pointOf(value: Uint8Array): Uint8Array {
  return pointBytes.has(value.length) ? value : readOctetString(readDer(value));
}

/** @source RFC 8017 section 9.2 */
function digestInfo(algorithm: OutsideAlgorithm, digest: Uint8Array): Uint8Array {
  return encodeSequence(encodeSequence(encodeOid(digestOids[algorithm.slice(-3)] ?? ""), encodeNull()), encodeOctetString(digest));
}

function withoutZeros(number: Uint8Array): Uint8Array {
  let start = 0;
  while (start < number.length - 1 && number[start] === 0) start++;
  return number.subarray(start);
}

function ulong(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function listed(labels: readonly string[]): string {
  return labels.length === 0 ? "is none" : `is ${labels.map((label) => `"${label}"`).join(", ")}`;
}

const objectClass = { publicKey: 2, privateKey: 3 } as const;
const attribute = {
  class: 0x0, label: 0x3, keyType: 0x100, id: 0x102, modulus: 0x120, publicExponent: 0x122, ecParameters: 0x180, ecPoint: 0x181,
  alwaysAuthenticate: 0x202,
} as const;
const keyTypes = { rsa: 0, ec: 3 } as const;
const mechanism = { rsaPkcs: 0x1, ecdsa: 0x1041 } as const;
/** CKF_USER_PIN_FINAL_TRY and CKF_USER_PIN_LOCKED. */
const pinFinalTry = 0x20000n | 0x40000n;
/** Of uncompressed points on P-256 and P-384. */
const pointBytes: ReadonlySet<number> = new Set([65, 97]);
const digestOids: Readonly<Record<string, string>> = {
  256: "2.16.840.1.101.3.4.2.1", 384: "2.16.840.1.101.3.4.2.2", 512: "2.16.840.1.101.3.4.2.3",
};
