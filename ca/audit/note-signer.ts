import { createPrivateKey, createPublicKey, hkdfSync, sign, type KeyObject } from "node:crypto";
import { AuditError } from "./errors.ts";
import { encodeSignatureLine, encodeVerifierKey, parseVerifierKey } from "./note.ts";

/** Signs notes by one key. */
export interface NoteSigner {
  /** C2SP verifier key, `name+id+base64`: what a reader keeps to verify with. */
  readonly verifierKey: string;
  /** The signed note. @param text  with its last newline */
  sign(text: string): string;
}

/**
 * @param name  of the key: no space, no plus
 * @throws {AuditError} verifier_key_malformed for such a name, verifier_key_unsupported for a key that is not Ed25519
 * @source C2SP signed-note.md
 */
export function noteSigner(name: string, privateKey: KeyObject): NoteSigner {
  if (privateKey.asymmetricKeyType !== "ed25519") {
    throw new AuditError("verifier_key_unsupported", `the key of ${name} is of type ${privateKey.asymmetricKeyType}; Ed25519 is needed`);
  }
  const verifierKey = encodeVerifierKey(name, publicBytes(privateKey));
  const { keyId } = parseVerifierKey(verifierKey);
  return { verifierKey, sign: (text) => `${text}\n${encodeSignatureLine({ name, keyId, signature: sign(null, Buffer.from(text), privateKey) })}` };
}

/**
 * An Ed25519 key for one purpose that follows from the key of the CA's log, so that it is kept, sealed and restored with it.
 * @param purpose  never used for two
 */
export function derivedKey(logPrivateKeyPkcs8: Uint8Array, purpose: string): KeyObject {
  const seed = Buffer.from(hkdfSync("sha256", logPrivateKeyPkcs8, "", purpose, seedBytes));
  return createPrivateKey({ key: Buffer.concat([ed25519Pkcs8Head, seed]), format: "der", type: "pkcs8" });
}

/** The 32 bytes of an Ed25519 key's public half. */
export function publicBytes(privateKey: KeyObject): Uint8Array {
  return Buffer.from(createPublicKey(privateKey).export({ format: "jwk" }).x!, "base64url");
}

const seedBytes = 32;
/** RFC 8410 section 7: what stands before the 32 bytes. */
const ed25519Pkcs8Head = Buffer.from("302e020100300506032b657004220420", "hex");
