import { createPublicKey, hash, verify, type KeyObject } from "node:crypto";
import { AuditError } from "./errors.ts";

/** A text with signatures under it, taken apart; nothing is verified yet. @source C2SP signed-note.md */
export interface SignedNote {
  /** What is signed, its last newline included. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export interface NoteSignature {
  readonly name: string;
  /** 8 lower-case hex digits. */
  readonly keyId: string;
  readonly signature: Uint8Array;
}

/** The public half of a key that signs notes. */
export interface VerifierKey {
  readonly name: string;
  /** 8 lower-case hex digits: a hint for finding the key, not a fingerprint to trust. */
  readonly keyId: string;
  readonly publicKey: KeyObject;
}

/**
 * Takes a note apart: a text, an empty line, at least one signature line.
 * @param note      up to 64 signatures
 * @param maxBytes  default 64 KiB
 * @throws {AuditError} note_malformed | note_limit_exceeded
 * @source C2SP signed-note.md, "Format"
 */
export function parseNote(note: string, maxBytes = maxNoteBytes): SignedNote {
  if (Buffer.byteLength(note) > maxBytes) {
    throw new AuditError("note_limit_exceeded", `a signed note of more than ${maxBytes} bytes is refused`);
  }
  if (!note.isWellFormed() || controlCharacters.test(note)) {
    throw new AuditError("note_malformed", "a signed note is UTF-8 text without control characters other than newlines");
  }
  // The text may hold empty lines itself: the last one is where it ends.
  const end = note.lastIndexOf("\n\n");
  if (end < 0 || !note.endsWith("\n") || end + 2 === note.length) {
    throw new AuditError("note_malformed", "a signed note is a text, an empty line and signature lines, each with its " +
      "newline");
  }
  const lines = note.slice(end + 2, -1).split("\n");
  if (lines.length > maxSignatures) {
    throw new AuditError("note_limit_exceeded", `a signed note with more than ${maxSignatures} signatures is refused`);
  }
  return { text: note.slice(0, end + 1), signatures: lines.map(parseSignatureLine) };
}

/**
 * Verifies a note against the keys we know; signatures by other keys are ignored, as the format asks.
 * @returns the keys that signed, at least one, each once
 * @throws {AuditError} note_signature_invalid if a key we know is named by a signature that is not its own, though others
 *   may verify; note_unverified if no key we know has signed
 * @source C2SP signed-note.md, "Verification"
 */
export function verifyNote(note: SignedNote, verifierKeys: readonly VerifierKey[]): readonly VerifierKey[] {
  const text = Buffer.from(note.text);
  const verified = new Set<VerifierKey>();
  for (const { name, keyId, signature } of note.signatures) {
    // Two keys may share a name and, by accident or design, an ID: then the signature must be by one of them.
    const known = verifierKeys.filter((key) => key.name === name && key.keyId === keyId);
    if (known.length === 0) continue;
    const signer = known.find((key) => verify(null, text, key.publicKey, signature));
    if (signer === undefined) {
      throw new AuditError("note_signature_invalid", `the signature named ${name}+${keyId} was not made by that key over ` +
        "this text");
    }
    verified.add(signer);
  }
  if (verified.size > 0) return [...verified];
  const signers = note.signatures.map(({ name, keyId }) => `${name}+${keyId}`).join(", ");
  const expected = verifierKeys.map(({ name, keyId }) => `${name}+${keyId}`).join(", ") || "none";
  throw new AuditError("note_unverified", `the note is signed by ${signers}; the keys to verify it with are ${expected}`);
}

/** What a key signs: `note` the text as it is (type 0x01), `cosignature` the text with a time before it (0x04). */
export type KeyUse = "note" | "cosignature";

/**
 * Reads a verifier key, `name+id+key`; Ed25519 keys are supported.
 * @throws {AuditError} verifier_key_malformed | verifier_key_unsupported
 * @source C2SP signed-note.md, "Verifier keys"
 */
export function parseVerifierKey(verifierKey: string, use: KeyUse = "note"): VerifierKey {
  const [, name, keyId, encoded] = verifierKeyForm.exec(verifierKey) ?? [];
  const key = encoded === undefined ? undefined : decodeBase64(encoded);
  if (name === undefined || keyId === undefined || key === undefined || !isKeyName(name)) {
    throw new AuditError("verifier_key_malformed", "a verifier key has the form name+8 hex digits+base64");
  }
  if (computeKeyId(name, key) !== keyId) {
    throw new AuditError("verifier_key_malformed", `the ID of verifier key ${name}+${keyId} does not fit its key: it was ` +
      "cut or altered");
  }
  if (key[0] !== typeOf[use] || key.length !== 1 + ed25519KeyBytes) {
    throw new AuditError("verifier_key_unsupported", `verifier key ${name}+${keyId} is not an Ed25519 key (type 0x0${typeOf[use]})`);
  }
  const x = key.subarray(1).toString("base64url");
  return { name, keyId, publicKey: createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" }) };
}

/** Writes a verifier key for an Ed25519 public key of 32 bytes. @throws {AuditError} verifier_key_malformed for a bad name */
export function encodeVerifierKey(name: string, publicKey: Uint8Array, use: KeyUse = "note"): string {
  if (!isKeyName(name)) throw new AuditError("verifier_key_malformed", "a key name is not empty and has no space, plus " +
    "or control character");
  const key = Buffer.concat([Uint8Array.of(typeOf[use]), publicKey]);
  return `${name}+${computeKeyId(name, key)}+${key.toString("base64")}`;
}

/** The signature line of a note, its newline included. */
export function encodeSignatureLine({ name, keyId, signature }: NoteSignature): string {
  return `— ${name} ${Buffer.concat([Buffer.from(keyId, "hex"), signature]).toString("base64")}\n`;
}

/** The bytes of a base64 text, or undefined if it is not written the one right way (RFC 4648 section 4, padded). */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}

function parseSignatureLine(line: string): NoteSignature {
  const [, name, encoded] = signatureLineForm.exec(line) ?? [];
  const bytes = encoded === undefined ? undefined : decodeBase64(encoded);
  if (name === undefined || bytes === undefined || bytes.length <= keyIdBytes || !isKeyName(name)) {
    throw new AuditError("note_malformed", "a signature line has the form: em dash, space, key name, space, base64");
  }
  return { name, keyId: bytes.toString("hex", 0, keyIdBytes), signature: bytes.subarray(keyIdBytes) };
}

/** First four bytes of SHA-256(name || newline || type || key), in hex. */
function computeKeyId(name: string, key: Uint8Array): string {
  return hash("sha256", Buffer.concat([Buffer.from(`${name}\n`), key])).slice(0, 2 * keyIdBytes);
}

function isKeyName(name: string): boolean {
  return name !== "" && name.isWellFormed() && !/[\s\u0085+]/u.test(name) && !controlCharacters.test(name);
}

const verifierKeyForm = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/;
const signatureLineForm = /^— ([^ ]+) ([A-Za-z0-9+/]+=*)$/;
const controlCharacters = /[\u0000-\u0009\u000b-\u001f]/;
const keyIdBytes = 4;
/** Signature types of signed-note.md. */
const typeOf = { note: 0x01, cosignature: 0x04 } as const;
const ed25519KeyBytes = 32;
/** The format asks verifiers for at least 16; a checkpoint has one of the log's and one of each witness. */
const maxSignatures = 64;
/** A checkpoint is some 200 bytes and 100 to 3500 for each signature (ML-DSA). */
const maxNoteBytes = 64 * 1024;
