import {
  constants, createCipheriv, createDecipheriv, createECDH, createPublicKey, generateKeyPairSync, privateEncrypt, randomBytes, randomUUID, sign,
  type KeyObject,
} from "node:crypto";
import { encodeNull, encodeOctetString, encodeOid, encodeSequence, encodeUnsignedInteger } from "../../ca/pki/der-encoding.ts";

/** What the KMS of the tests keeps. */
export interface KmsKeys {
  readonly byId: Map<string, StoredKey>;
  readonly aliases: Map<string, string>;
  readonly region: string;
}

export interface StoredKey {
  readonly keyId: string;
  readonly arn: string;
  readonly spec: string;
  readonly usage: string;
  state: "Enabled" | "Disabled" | "PendingDeletion";
  /** Of an asymmetric key; a test may swap it, as an attacker would. */
  privateKey: KeyObject | undefined;
  spki: Uint8Array;
  readonly secret: Uint8Array;
}

/** An error as KMS answers it. */
export class KmsFault extends Error {
  readonly type: string;
  readonly status: number;

  constructor(type: string, message: string, status = 400) {
    super(message);
    this.type = type;
    this.status = status;
  }
}

/**
 * One operation of the KMS API.
 * @throws {KmsFault}
 * @source AWS KMS API Reference
 */
export function answerKms(operation: string, input: Record<string, unknown>, keys: KmsKeys): object {
  switch (operation) {
    case "CreateKey": return createKey(input, keys);
    case "CreateAlias":
      keys.aliases.set(String(input["AliasName"]), String(input["TargetKeyId"]));
      return {};
    case "DescribeKey": return { KeyMetadata: metadata(find(input, keys)) };
    case "DisableKey": return setState(find(input, keys), "Disabled");
    case "EnableKey": return setState(find(input, keys), "Enabled");
    case "ScheduleKeyDeletion": return setState(find(input, keys), "PendingDeletion");
    case "GetPublicKey": return publicKey(usable(input, keys));
    case "Sign": return signMessage(usable(input, keys), input);
    case "GenerateDataKey": return generateDataKey(usable(input, keys), input);
    case "Decrypt": return decrypt(input, keys);
    default: throw new KmsFault("UnknownOperationException", "");
  }
}

function createKey(input: Record<string, unknown>, keys: KmsKeys): object {
  const spec = String(input["KeySpec"] ?? "SYMMETRIC_DEFAULT");
  const usage = String(input["KeyUsage"] ?? "ENCRYPT_DECRYPT");
  const privateKey = newPrivateKey(spec);
  const keyId = randomUUID();
  const key: StoredKey = {
    keyId, arn: `arn:aws:kms:${keys.region}:111122223333:key/${keyId}`, spec, usage, state: "Enabled", privateKey,
    spki: privateKey === undefined ? new Uint8Array() : spkiOf(privateKey), secret: randomBytes(32),
  };
  keys.byId.set(keyId, key);
  return { KeyMetadata: metadata(key) };
}

function newPrivateKey(spec: string): KeyObject | undefined {
  switch (spec) {
    case "SYMMETRIC_DEFAULT": return undefined;
    case "ECC_NIST_P256": return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    case "ECC_NIST_P384": return generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey;
    case "ECC_NIST_P521": return generateKeyPairSync("ec", { namedCurve: "P-521" }).privateKey;
    case "RSA_2048": case "RSA_3072": case "RSA_4096":
      return generateKeyPairSync("rsa", { modulusLength: Number(spec.slice(4)) }).privateKey;
    default: throw new KmsFault("ValidationException", `KeySpec ${spec}`);
  }
}

/** SubjectPublicKeyInfo of a private key. */
export function spkiOf(privateKey: KeyObject): Uint8Array {
  return createPublicKey(privateKey).export({ format: "der", type: "spki" });
}

function find(input: Record<string, unknown>, { byId, aliases }: KmsKeys): StoredKey {
  const given = String(input["KeyId"]);
  const id = aliases.get(given) ?? given.replace(/^.*:key\//, "");
  const key = byId.get(id);
  if (key === undefined) throw new KmsFault("NotFoundException", `Key '${given}' does not exist`);
  return key;
}

function setState(key: StoredKey, state: StoredKey["state"]): object {
  key.state = state;
  return { KeyId: key.arn };
}

function usable(input: Record<string, unknown>, keys: KmsKeys): StoredKey {
  const key = find(input, keys);
  if (key.state === "Disabled") throw new KmsFault("DisabledException", `${key.arn} is disabled.`);
  if (key.state === "PendingDeletion") throw new KmsFault("KMSInvalidStateException", `${key.arn} is pending deletion.`);
  return key;
}

function metadata({ keyId, arn, spec, usage, state }: StoredKey): object {
  return { KeyId: keyId, Arn: arn, KeySpec: spec, KeyUsage: usage, KeyState: state, Enabled: state === "Enabled", Origin: "AWS_KMS" };
}

function publicKey({ arn, spec, usage, spki, privateKey }: StoredKey): object {
  if (privateKey === undefined) throw new KmsFault("UnsupportedOperationException", `${arn} is not asymmetric`);
  return { KeyId: arn, PublicKey: base64(spki), KeySpec: spec, KeyUsage: usage, SigningAlgorithms: algorithmsOf(spec) };
}

function signMessage({ arn, spec, usage, privateKey }: StoredKey, input: Record<string, unknown>): object {
  const algorithm = String(input["SigningAlgorithm"]);
  const messageType = input["MessageType"] ?? "RAW";
  const message = Buffer.from(String(input["Message"]), "base64");
  if (message.length < 1 || message.length > maxMessageBytes) {
    throw new KmsFault("ValidationException", "1 validation error detected: Value at 'message' failed to satisfy constraint: Member must have length less than or equal to 4096");
  }
  if (usage !== "SIGN_VERIFY" || privateKey === undefined) throw new KmsFault("InvalidKeyUsageException", `${arn} key usage is ${usage} which is not valid for Sign.`);
  if (!algorithmsOf(spec).includes(algorithm)) throw new KmsFault("InvalidKeyUsageException", `Algorithm ${algorithm} is incompatible with key spec ${spec}.`);
  const digest = `sha${algorithm.slice(-3)}`;
  if (messageType === "RAW") return signed(arn, algorithm, sign(digest, message, privateKey));
  if (messageType !== "DIGEST") throw new KmsFault("ValidationException", `MessageType ${String(messageType)}`);
  if (message.length !== Number(algorithm.slice(-3)) / 8) throw new KmsFault("ValidationException", `Digest is invalid length for algorithm ${algorithm}.`);
  return signed(arn, algorithm, spec.startsWith("RSA") ? signRsaDigest(digest, message, privateKey) : signEcDigest(message, privateKey));
}

function signed(arn: string, algorithm: string, signature: Uint8Array): object {
  return { KeyId: arn, SigningAlgorithm: algorithm, Signature: base64(signature) };
}

function signRsaDigest(digest: string, message: Uint8Array, privateKey: KeyObject): Uint8Array {
  const info = encodeSequence(encodeSequence(encodeOid(digestOids[digest] ?? ""), encodeNull()), encodeOctetString(message));
  return privateEncrypt({ key: privateKey, padding: constants.RSA_PKCS1_PADDING }, info);
}

/** ECDSA over a digest that is given: FIPS 186-5 section 6.4.1, by big integers, since node:crypto signs messages only. */
function signEcDigest(digest: Uint8Array, privateKey: KeyObject): Uint8Array {
  const { crv, d } = privateKey.export({ format: "jwk" });
  const curve = crv === "P-384" ? "secp384r1" : "prime256v1";
  const order = crv === "P-384" ? orders.p384 : orders.p256;
  const secret = toBigInt(Buffer.from(d ?? "", "base64url"));
  const size = crv === "P-384" ? 48 : 32;
  const e = toBigInt(digest.subarray(0, size));
  for (;;) {
    const ephemeral = createECDH(curve);
    ephemeral.generateKeys();
    const k = toBigInt(ephemeral.getPrivateKey());
    const r = toBigInt(ephemeral.getPublicKey().subarray(1, 1 + size)) % order;
    const s = (power(k, order - 2n, order) * (e + r * secret)) % order;
    if (r === 0n || s === 0n) continue;
    return encodeSequence(encodeUnsignedInteger(toBytes(r)), encodeUnsignedInteger(toBytes(s)));
  }
}

function generateDataKey({ arn, usage, secret }: StoredKey, input: Record<string, unknown>): object {
  if (usage !== "ENCRYPT_DECRYPT") throw new KmsFault("InvalidKeyUsageException", `${arn} key usage is ${usage}.`);
  if (input["KeySpec"] !== "AES_256") throw new KmsFault("ValidationException", "KeySpec");
  const plaintext = randomBytes(32);
  const iv = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", secret, iv).setAAD(Buffer.from(contextOf(input)));
  const sealed = Buffer.concat([iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  return { KeyId: arn, Plaintext: base64(plaintext), CiphertextBlob: base64(Buffer.concat([Buffer.from(`${arn}\n`), sealed])) };
}

function decrypt(input: Record<string, unknown>, keys: KmsKeys): object {
  const blob = Buffer.from(String(input["CiphertextBlob"]), "base64");
  const end = blob.indexOf("\n");
  const madeBy = blob.subarray(0, Math.max(end, 0)).toString();
  const key = keys.byId.get(madeBy.replace(/^.*:key\//, ""));
  if (key === undefined) throw new KmsFault("InvalidCiphertextException", "");
  if (input["KeyId"] !== undefined && find(input, keys) !== key) throw new KmsFault("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.");
  usable({ KeyId: key.keyId }, keys);
  const sealed = blob.subarray(end + 1);
  try {
    const decipher = createDecipheriv("aes-256-gcm", key.secret, sealed.subarray(0, 12), { authTagLength: 16 }).setAAD(Buffer.from(contextOf(input)));
    decipher.setAuthTag(sealed.subarray(-16));
    return { KeyId: key.arn, Plaintext: base64(Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])), EncryptionAlgorithm: "SYMMETRIC_DEFAULT" };
  } catch {
    throw new KmsFault("InvalidCiphertextException", "");
  }
}

function contextOf(input: Record<string, unknown>): string {
  return JSON.stringify(Object.entries((input["EncryptionContext"] as Record<string, string> | undefined) ?? {}).sort());
}

function algorithmsOf(spec: string): readonly string[] {
  if (spec === "ECC_NIST_P256") return ["ECDSA_SHA_256"];
  if (spec === "ECC_NIST_P384") return ["ECDSA_SHA_384"];
  if (spec === "ECC_NIST_P521") return ["ECDSA_SHA_512"];
  return ["256", "384", "512"].flatMap((bits) => [`RSASSA_PKCS1_V1_5_SHA_${bits}`, `RSASSA_PSS_SHA_${bits}`]);
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (let b = base % modulus, e = exponent; e > 0n; e >>= 1n, b = (b * b) % modulus) if (e & 1n) result = (result * b) % modulus;
  return result;
}

function toBigInt(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
}

function toBytes(value: bigint): Uint8Array {
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

const digestOids: Readonly<Record<string, string>> = {
  sha256: "2.16.840.1.101.3.4.2.1", sha384: "2.16.840.1.101.3.4.2.2", sha512: "2.16.840.1.101.3.4.2.3",
};
const orders = {
  p256: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  p384: BigInt(`0x${"f".repeat(48)}c7634d81f4372ddf581a0db248b0a77aecec196accc52973`),
};
const maxMessageBytes = 4096;
