import { sign, verify } from "node:crypto";
import { AuditError } from "./errors.ts";
import { encodeSignatureLine, encodeVerifierKey, parseVerifierKey, type SignedNote, type VerifierKey } from "./note.ts";
import { derivedKey, publicBytes } from "./note-signer.ts";

/** Who says that a log's checkpoint is the newest it has seen, and continues all that it saw before. */
export interface Cosigner {
  /** `name+id+base64`, of type 0x04. */
  readonly verifierKey: string;
  /** The signature line under a checkpoint, its newline included. @param text  the checkpoint without signatures */
  cosign(text: string, nowMs: number): string;
}

/**
 * A CA's key as a witness of other logs. It follows from the key of its own log, so that it is kept, sealed and restored with it, and is
 * another one, since a cosignature does not name who made it.
 * @throws {AuditError} verifier_key_malformed for a name that is none
 * @source C2SP tlog-cosignature, "Ed25519 signed message"
 */
export function logCosigner({ name, logPrivateKeyPkcs8 }: { readonly name: string; readonly logPrivateKeyPkcs8: Uint8Array }): Cosigner {
  const privateKey = derivedKey(logPrivateKeyPkcs8, "countersign witness");
  const verifierKey = encodeVerifierKey(name, publicBytes(privateKey), "cosignature");
  const { keyId } = parseVerifierKey(verifierKey, "cosignature");
  return {
    verifierKey,
    cosign(text, nowMs) {
      const seconds = Math.floor(nowMs / 1000);
      const time = Buffer.alloc(timeBytes);
      time.writeBigUInt64BE(BigInt(seconds));
      return encodeSignatureLine({ name, keyId, signature: Buffer.concat([time, sign(null, messageOf(text, seconds), privateKey)]) });
    },
  };
}

/**
 * Verifies a witness's cosignature under a checkpoint.
 * @param key  of type 0x04
 * @returns    when it was made, in ms; of several the latest
 * @throws {AuditError} note_signature_invalid | note_unverified
 * @source C2SP tlog-cosignature
 */
export function verifyCosignature({ text, signatures }: SignedNote, key: VerifierKey): number {
  let latest: number | undefined;
  for (const { name, keyId, signature } of signatures) {
    if (name !== key.name || keyId !== key.keyId) continue;
    const bytes = Buffer.from(signature);
    const seconds = bytes.length === timeBytes + signatureBytes ? Number(bytes.readBigUInt64BE()) : -1;
    if (!Number.isSafeInteger(seconds) || seconds < 0 || !verify(null, messageOf(text, seconds), key.publicKey, bytes.subarray(timeBytes))) {
      throw new AuditError("note_signature_invalid", `the cosignature named ${name}+${keyId} was not made by that key over this text`);
    }
    latest = Math.max(latest ?? 0, seconds);
  }
  if (latest === undefined) throw new AuditError("note_unverified", `the witness ${key.name}+${key.keyId} has not signed it`);
  return latest * 1000;
}

function messageOf(text: string, seconds: number): Buffer {
  return Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`);
}

const timeBytes = 8;
const signatureBytes = 64;
