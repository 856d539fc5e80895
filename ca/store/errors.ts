export type StoreErrorCode =
  | "already_initialized"
  | "key_reused"
  | "serial_taken"
  | "token_unknown"
  | "token_already_redeemed"
  | "idempotency_conflict"
  | "certificate_unknown"
  | "certificate_revoked"
  | "already_revoked"
  /** Its authorities are not what the act expects: also for an `issue` by one that signs nothing (any more). */
  | "authority_superseded"
  | "authority_in_use"
  /** The act's lease is another's by now, or was given up. */
  | "lease_lost"
  | "crl_superseded"
  /** The store's keys are under another sealing key by now, or a CA wrote to the store while they were sealed anew. */
  | "sealing_superseded"
  /** No such request to an offline key, or it was answered or taken back. */
  | "ceremony_unknown"
  | "documents_changed"
  /** The queue of waiting acts is full. Nothing was written: safe to retry. */
  | "store_busy"
  /** The database cannot be reached or refuses writes. `outcomeKnown` tells whether the act may have landed. */
  | "store_unavailable"
  /** The stored log does not fit its own head: nothing is written until an operator has looked. */
  | "log_inconsistent";

/** A refused or failed act. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code: StoreErrorCode;
  /** False when the connection broke during COMMIT: the act may have landed, look before retrying. */
  readonly outcomeKnown: boolean;

  constructor(code: StoreErrorCode, message: string, options?: { cause?: unknown; outcomeKnown?: boolean }) {
    super(message, options);
    this.code = code;
    this.outcomeKnown = options?.outcomeKnown ?? true;
  }
}
