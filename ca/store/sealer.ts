import { checkpointSigner, type CheckpointSigner } from "../audit/checkpoint.ts";
import { rootOf, type CompactRange } from "../audit/merkle.ts";
import type { Refused } from "./outcome.ts";
import { StoreError } from "./errors.ts";
import type { CheckpointRow, LogSealer } from "./rows/log.ts";

/**
 * Makes the log's signer of its key, once it is shown to be the one that signed the log so far.
 * @throws {StoreError} log_inconsistent
 */
export function signerFor(sealer: LogSealer, head: CompactRange, newest: CheckpointRow | undefined): CheckpointSigner {
  const signer = checkpointSigner(sealer);
  requireSignedBy(signer, head, newest);
  return signer;
}

/**
 * Refuses to go on with a log that another key has sealed.
 * @throws {StoreError} log_inconsistent
 */
export function requireSignedBy(signer: CheckpointSigner, head: CompactRange, newest: CheckpointRow | undefined): void {
  // Ed25519 is deterministic: the same key over the same head makes the same note.
  if (newest === undefined || newest.note === signer.sign(head.size, rootOf(head))) return;
  throw new StoreError("log_inconsistent", `The newest checkpoint of the audit log was not signed by ${signer.verifierKey} over the stored head. Start with the sealing key and trust domain this store was made with; if they are right, run \`countersign audit verify\`.`);
}

/** The outcome of acts that come before the log's key. */
export const locked: Refused = { code: "store_unavailable", message: "The store is locked: `unlock` hands over the log's key before the first commit." };
