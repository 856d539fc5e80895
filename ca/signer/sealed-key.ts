import {
  createCipheriv, createDecipheriv, createPrivateKey, createPublicKey, randomBytes, scrypt, type KeyObject, type ScryptOptions,
} from "node:crypto";
import { SignerError } from "./errors.ts";

/**
 * Seals a private key with a passphrase, for a file on a machine without network: scrypt, AES-256-GCM.
 * @returns text of the file
 * @throws {SignerError} key_refused for a passphrase that is too short
 */
export async function sealPrivateKey(privateKey: KeyObject, passphrase: string): Promise<string> {
  if (passphrase.length < minPassphraseChars) {
    throw new SignerError(
      "key_refused",
      `the passphrase has fewer than ${minPassphraseChars} characters; whoever gets the file can try billions: take six random words`,
    );
  }
  const salt = randomBytes(saltBytes);
  const nonce = randomBytes(nonceBytes);
  const header = { format, kdf: "scrypt", ...cost, salt: salt.toString("base64"), nonce: nonce.toString("base64") };
  const cipher = createCipheriv("aes-256-gcm", await derive(passphrase, salt, cost), nonce);
  cipher.setAAD(Buffer.from(JSON.stringify(header)));
  const pkcs8 = privateKey.export({ format: "der", type: "pkcs8" });
  const sealed = Buffer.concat([cipher.update(pkcs8), cipher.final(), cipher.getAuthTag()]).toString("base64");
  const publicKey = createPublicKey(privateKey).export({ format: "der", type: "spki" }).toString("base64");
  return `${JSON.stringify({ ...header, publicKey, sealed }, null, 2)}\n`;
}

/**
 * Opens a file of `sealPrivateKey`.
 * @throws {SignerError} sealed_format_unknown | key_refused
 */
export async function openPrivateKey(text: string, passphrase: string): Promise<KeyObject> {
  const { N, r, p, salt, nonce, sealed, ...rest } = parse(text);
  const header = { format: rest.format, kdf: rest.kdf, N, r, p, salt, nonce };
  const bytes = Buffer.from(sealed, "base64");
  const key = await derive(passphrase, Buffer.from(salt, "base64"), { N, r, p });
  const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(nonce, "base64"), { authTagLength: tagBytes });
  decipher.setAAD(Buffer.from(JSON.stringify(header)));
  decipher.setAuthTag(bytes.subarray(-tagBytes));
  try {
    const pkcs8 = Buffer.concat([decipher.update(bytes.subarray(0, -tagBytes)), decipher.final()]);
    return createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
  } catch (cause) {
    throw new SignerError("key_refused", "the passphrase does not open the key file, or the file was altered", { cause });
  }
}

interface SealedKeyFile {
  readonly format: string;
  readonly kdf: string;
  readonly N: number;
  readonly r: number;
  readonly p: number;
  readonly salt: string;
  readonly nonce: string;
  readonly sealed: string;
}

function parse(text: string): SealedKeyFile {
  try {
    const file = JSON.parse(text) as Record<string, unknown>;
    // Bounded, or a file could make us fill all memory before anything is checked.
    const bounded = file["N"] === cost.N && file["r"] === cost.r && file["p"] === cost.p;
    const texts = ["salt", "nonce", "sealed"].every((name) => typeof file[name] === "string");
    if (file["format"] === format && file["kdf"] === "scrypt" && bounded && texts) return file as unknown as SealedKeyFile;
  } catch {
    // Falls through: not JSON is not ours either.
  }
  throw new SignerError(
    "sealed_format_unknown", `the key file is not in the format ${format}; make one with: countersign ceremony sign --create-key`,
  );
}

function derive(passphrase: string, salt: Uint8Array, options: ScryptOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(passphrase.normalize("NFC"), salt, keyBytes, { ...options, maxmem: maxMemoryBytes }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}

const format = "countersign.dev/sealed-key/1";
/** OWASP Password Storage Cheat Sheet: N = 2^17, r = 8, p = 1; 128 MiB and 0.3 s for each guess. */
const cost = { N: 2 ** 17, r: 8, p: 1 } as const;
const maxMemoryBytes = 256 * 1024 * 1024;
const keyBytes = 32;
const saltBytes = 16;
const nonceBytes = 12;
const tagBytes = 16;
const minPassphraseChars = 12;
