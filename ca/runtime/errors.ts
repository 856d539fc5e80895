export type RuntimeErrorCode =
  /** The address cannot be listened on. */
  | "listen_failed"
  /** The data folder cannot be made or written to, or others may write to it. */
  | "data_folder_unusable"
  /** The certificate of the Web PKI that was named cannot be shown. */
  | "web_certificate_unusable"
  /** A checkpoint kept apart from the store tells of entries that its log does not have. */
  | "log_behind_witness";

/** What of this machine keeps the CA from serving. */
export class RuntimeError extends Error {
  override readonly name = "RuntimeError";
  readonly code: RuntimeErrorCode;

  constructor(code: RuntimeErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
