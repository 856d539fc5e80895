/** Stable: the command line and tests name it. */
export type CeremonyErrorCode =
  /** Not a request or an answer of a version we know. */
  | "request_malformed"
  | "answer_malformed"
  /** What the request asks for is not what such a request may ask for. */
  | "request_refused"
  | "fingerprint_wrong"
  /** The key is not the one of the authority that is to sign. */
  | "key_mismatch"
  /** The answer is to a request that is not open here. */
  | "request_unknown"
  /** The answer does not hold what was asked for. */
  | "answer_refused"
  | "file_unusable"
  | "state_refused";

/** A ceremony that does not go on. The message never holds a secret. */
export class CeremonyError extends Error {
  override readonly name = "CeremonyError";
  readonly code: CeremonyErrorCode;

  constructor(code: CeremonyErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
