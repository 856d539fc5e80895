export interface CaState {
  readonly trustDomain: string;
  /** Rises with each change of the bundle. */
  readonly bundleSequence: number;
  /** C2SP verifier key of the log: `name+hex+base64`. */
  readonly logVerifierKey: string;
  /** Ed25519 key of the log, sealed (`ca/signer/sealing.ts`). */
  readonly sealedLogKey: Uint8Array;
  readonly createdAtMs: number;
  /** Where KMS wraps the sealing key: the wrapped key and what unwraps it, as ca/signer/kms-sealing.ts writes it. Empty elsewhere. */
  readonly wrappedSealingKey?: string;
  /** New at the first start and after a restore: what tells the feed's readers that they may hold what this store never had. */
  readonly feedEpoch: string;
}
