/** `sealing_key_*`: the key that seals; `sealed_*`: what it sealed; `key_file_*`: any file that holds a key. */
export type SignerErrorCode =
  | "signer_unavailable"
  | "sealing_key_missing"
  | "sealing_key_malformed"
  | "sealing_key_wrong"
  | "sealed_data_altered"
  | "sealed_format_unknown"
  | "key_file_exposed"
  | "key_file_unreadable";

/** A key that cannot be had or used. The message never holds key material. */
export class SignerError extends Error {
  override readonly name = "SignerError";
  readonly code: SignerErrorCode;

  constructor(code: SignerErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
