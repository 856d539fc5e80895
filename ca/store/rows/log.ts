/** What opening a store needs to seal the log: the checkpoint is signed inside the transaction it covers. */
export interface LogSealer {
  /** Name of the log in its checkpoints and of its key: `countersign.dev/<trust domain>/log` or what the operator chose. */
  readonly origin: string;
  /** Ed25519 private key, PKCS#8 DER: handed to the writer, never stored in clear. */
  readonly privateKeyPkcs8: Uint8Array;
}

export interface CheckpointRow {
  readonly size: number;
  /** The signed note, whole. */
  readonly note: string;
}

export interface EntryRow {
  readonly index: number;
  /** The bytes that were hashed, as text. */
  readonly body: string;
  /** RFC 6962 leaf hash as stored; `audit verify` recomputes it. */
  readonly leafHash: Uint8Array;
}
