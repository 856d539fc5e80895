import { createCipheriv, createDecipheriv, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { SignerError } from "./errors.ts";
import { createSecretFile, readSecretFile } from "./key-file.ts";

/** Encrypts private keys for the store, so that a copy of the database alone signs nothing. */
export interface Sealing {
  /** `what` names the secret (`issuer:<id>`, `log-key`): a blob moved to another place does not open there. */
  seal(what: string, secret: Uint8Array): Uint8Array;
  /** @throws {SignerError} sealing_key_wrong | sealed_data_altered | sealed_format_unknown */
  unseal(what: string, sealed: Uint8Array): Uint8Array;
}

/** Version 1 of the format: version (1) | key id (8) | nonce (12) | AES-256-GCM ciphertext | tag (16). */
export function createSealing(key: Uint8Array): Sealing {
  if (key.length !== keyBytes) throw new RangeError("a sealing key has 32 bytes");
  const keyId = createHmac("sha256", key).update("countersign sealing key id").digest().subarray(0, keyIdBytes);
  const header = Buffer.concat([Uint8Array.of(version), keyId]);
  const associatedData = (what: string): Buffer => Buffer.concat([header, Buffer.from(what)]);
  return {
    seal(what, secret) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv("aes-256-gcm", key, nonce);
      cipher.setAAD(associatedData(what));
      return Buffer.concat([header, nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
    },
    unseal(what, sealed) {
      if (sealed.length < header.length + nonceBytes + tagBytes || sealed[0] !== version) {
        throw new SignerError(
          "sealed_format_unknown",
          `the sealed ${what} is not in a format this version reads; was it cut off, or written by a newer one?`,
        );
      }
      if (!timingSafeEqual(sealed.subarray(1, header.length), keyId)) {
        throw new SignerError(
          "sealing_key_wrong",
          `the sealed ${what} in the store was sealed with another sealing key; start with the key of the first start or the last reseal ` +
            "(sealingKeyFile or COUNTERSIGN_SEALING_KEY), the same on every replica",
        );
      }
      const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(header.length, header.length + nonceBytes), { authTagLength: tagBytes });
      decipher.setAAD(associatedData(what));
      decipher.setAuthTag(sealed.subarray(-tagBytes));
      try {
        return Buffer.concat([decipher.update(sealed.subarray(header.length + nonceBytes, -tagBytes)), decipher.final()]);
      } catch (cause) {
        throw new SignerError(
          "sealed_data_altered",
          `the sealed ${what} in the store was altered or moved from another row; restore the database from a backup ` +
            "and find out who changed it",
          { cause },
        );
      }
    },
  };
}

export interface SealingKeySource {
  /** Base64 of the key, from the environment; goes before the file. */
  readonly sealingKey: string | undefined;
  readonly sealingKeyPath: string;
}

/**
 * Reads the sealing key, or makes it when the store is still empty.
 * @param options.create  true only before anything was sealed: a new key beside sealed data would hide that the old one is lost
 * @throws {SignerError} sealing_key_missing | sealing_key_malformed | key_file_exposed | key_file_unreadable
 */
export function loadSealing({ sealingKey, sealingKeyPath }: SealingKeySource, options: { readonly create: boolean }): Sealing {
  if (sealingKey !== undefined) return createSealing(parseKey(sealingKey, "COUNTERSIGN_SEALING_KEY"));
  if (options.create) createSecretFile(sealingKeyPath, `${randomBytes(keyBytes).toString("base64")}\n`);
  const text = readSecretFile(sealingKeyPath);
  if (text === undefined) {
    throw new SignerError(
      "sealing_key_missing",
      `the store holds sealed keys but there is no sealing key at ${sealingKeyPath}; put back the file made at the first start ` +
        "(or set sealingKeyFile or COUNTERSIGN_SEALING_KEY): without it the CA's private keys cannot be recovered",
    );
  }
  return createSealing(parseKey(text.trim(), sealingKeyPath));
}

function parseKey(text: string, where: string): Uint8Array {
  const key = Buffer.from(text, "base64");
  if (key.length !== keyBytes || key.toString("base64") !== text) {
    throw new SignerError(
      "sealing_key_malformed",
      `${where} is not a sealing key: it must be 32 bytes in base64 (make one with: openssl rand -base64 32)`,
    );
  }
  return key;
}

const version = 1;
const keyBytes = 32;
const keyIdBytes = 8;
const nonceBytes = 12;
const tagBytes = 16;
