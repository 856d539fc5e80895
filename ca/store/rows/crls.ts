/**
 * The newest CRL of one list. The entries of a large one are not kept a second time: with what is here and the revocations it is
 * put together again, byte for byte.
 */
export interface CrlRow {
  readonly authorityId: string;
  /** Which of the authority's lists: the last part of its path. */
  readonly list: string;
  /** CRLNumber: never used for two CRLs of a list. */
  readonly number: number;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /** Revocations up to this sequence are in it. */
  readonly sequence: number;
  /** Left out: revocations up to `droppedSequence` of certificates that ended before `droppedBeforeMs`. */
  readonly droppedSequence: number;
  readonly droppedBeforeMs: number;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
  readonly signature: Uint8Array;
  /** The whole of it, for one that cannot be put together from revocations: a root's. */
  readonly crl?: Uint8Array;
}
