import { createPrivateKey } from "node:crypto";
import { AuditError } from "./errors.ts";
import { hashBytes } from "./merkle.ts";
import { decodeBase64, type SignedNote } from "./note.ts";
import { noteSigner } from "./note-signer.ts";

/** What the log says about itself at one size: these entries, in this order, and no other. */
export interface Checkpoint {
  /** Name of the log. */
  readonly origin: string;
  /** Number of entries. */
  readonly size: number;
  /** RFC 6962 root over them, 32 bytes. */
  readonly root: Uint8Array;
}

export interface CheckpointSigner {
  /** C2SP verifier key, `origin+id+base64`: what a reader keeps to verify the log with. */
  readonly verifierKey: string;
  /** The signed note over a tree of `size` entries and this root. */
  sign(size: number, root: Uint8Array): string;
}

/**
 * Signs checkpoints, synchronously, with the log's Ed25519 key. It does not remember what it signed: that two of its
 * checkpoints never contradict each other is for the store, which signs inside the transaction (AUD-08).
 * @param options.origin  also the key's name: no space, no plus
 * @throws {AuditError} verifier_key_malformed for such an origin, verifier_key_unsupported for a key that is not Ed25519
 * @source C2SP tlog-checkpoint.md
 */
export function checkpointSigner({ origin, privateKeyPkcs8 }: {
  readonly origin: string;
  readonly privateKeyPkcs8: Uint8Array;
}): CheckpointSigner {
  const signer = noteSigner(origin, createPrivateKey({ key: privateKeyPkcs8 as Buffer, format: "der", type: "pkcs8" }));
  return { verifierKey: signer.verifierKey, sign: (size, root) => signer.sign(encodeCheckpoint({ origin, size, root })) };
}

/** The text of a checkpoint, to be signed. */
export function encodeCheckpoint({ origin, size, root }: Checkpoint): string {
  if (!Number.isSafeInteger(size) || size < 0 || root.length !== hashBytes) {
    throw new RangeError("not a size and root of a log");
  }
  return `${origin}\n${size}\n${Buffer.from(root).toString("base64")}\n`;
}

/**
 * Reads the text of a checkpoint; whether its signature is good is for `verifyNote`. Extension lines are refused: our logs
 * have none, and one that we do not understand could change what the rest means.
 * @throws {AuditError} checkpoint_malformed
 * @source C2SP tlog-checkpoint.md
 */
export function parseCheckpoint(note: Pick<SignedNote, "text">): Checkpoint {
  const [origin, sizeText, rootText, end, ...extension] = note.text.split("\n");
  const size = /^(0|[1-9][0-9]{0,15})$/.test(sizeText ?? "") ? Number(sizeText) : undefined;
  const root = decodeBase64(rootText ?? "");
  const complete = end === "" && extension.length === 0;
  if (!origin || size === undefined || !Number.isSafeInteger(size) || root?.length !== hashBytes || !complete) {
    throw new AuditError("checkpoint_malformed", "a checkpoint has three lines: the log's origin, its size in decimal, " +
      "its root in base64");
  }
  return { origin, size, root };
}
