import type { KeyAlgorithm } from "../pki/key.ts";

/** A private key that can sign and cannot be read. Software keys sign in microseconds; KMS and PKCS#11 may take seconds. */
export interface Signer {
  readonly keyAlgorithm: KeyAlgorithm;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /**
   * Signs the message (hashing included) as `signatureAlgorithmFor(keyAlgorithm)` of ca/pki/key.ts says; ECDSA
   * signatures are DER (r, s). Software keys answer synchronously, so that the hot path needs no promise.
   * @throws {SignerError} signer_unavailable when the key cannot be reached: safe to retry
   */
  sign(message: Uint8Array): Uint8Array | Promise<Uint8Array>;
}
