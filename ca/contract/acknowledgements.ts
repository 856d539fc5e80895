/** Which bundle of its CA a holder holds. */
export interface HeldBundle {
  /** As the CA told it: a sequence says nothing to a CA that was restored from a backup since. */
  readonly feedEpoch: string;
  /** Decimal, 64 bits. */
  readonly bundleSequence: string;
}

/** `POST /v1/acknowledgements`: what the holder of a certificate has made its own. No anchor is activated before all hold it. */
export interface AcknowledgeRequest extends HeldBundle {
  /** A proof for the purpose `acknowledgement` by the certificate's key, bound to `acknowledgedText`. */
  readonly proof: string;
}

/** What an acknowledgement's proof is bound to. */
export function acknowledgedText({ feedEpoch, bundleSequence }: HeldBundle): string {
  return JSON.stringify([feedEpoch, bundleSequence]);
}
