export interface CeremonyRow {
  /** SHA-256 of the request's text, lower-case hex. */
  readonly id: string;
  /** The request file as it was written, whole. */
  readonly request: string;
  /** Of the authority that is asked for, where its key is made and sealed here. */
  readonly sealedPrivateKey?: Uint8Array;
  readonly createdAtMs: number;
  /** When it was answered or taken back; absent: it is open. */
  readonly closedAtMs?: number;
}
