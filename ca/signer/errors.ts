/**
 * `sealing_key_*`: the key that seals; `sealed_*`: what it sealed; `key_file_*`: any file that holds a key; the others: keys that
 * live elsewhere (KMS, PKCS#11, a ceremony).
 */
export type SignerErrorCode =
  /** It cannot be reached or is overloaded. Safe to retry. */
  | "signer_unavailable"
  /** Its key signs in a ceremony only. */
  | "signer_offline"
  /** What came back was not made by the pinned key. */
  | "signature_wrong"
  /** The key under that name is not the pinned one. */
  | "key_changed"
  | "key_unknown"
  | "key_disabled"
  /** Not a signing key, or of a kind we do not sign with. */
  | "key_unfit"
  /** We may not use it: credentials, policy, PIN. */
  | "key_refused"
  | "key_location_malformed"
  | "sealing_key_missing"
  /** KMS, which wraps it, does not answer. Safe to retry. */
  | "sealing_key_unavailable"
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
