/** Every way the log's formats and proofs are refused; stable, tests and the command line name it. */
export type AuditErrorCode =
  | "note_malformed"
  | "note_limit_exceeded"
  /** A key we know is named by a signature that it did not make. */
  | "note_signature_invalid"
  /** No signature is by a key we know. */
  | "note_unverified"
  | "verifier_key_malformed"
  | "verifier_key_unsupported"
  | "checkpoint_malformed"
  /** A proof was asked for an index or a size that the log does not have. */
  | "proof_out_of_range"
  /** The stored hashes that a proof is made of are not there. */
  | "proof_source_incomplete"
  | "proof_invalid";

/** A refused note, key, checkpoint or proof: `code` for programs, `message` for people. */
export class AuditError extends Error {
  override readonly name = "AuditError";
  readonly code: AuditErrorCode;

  constructor(code: AuditErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The refusal an act ends with, or undefined; anything that is not a refusal is thrown on. */
export function refusalOf(act: () => unknown): AuditError | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    if (error instanceof AuditError) return error;
    throw error;
  }
}
