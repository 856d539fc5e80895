/** Proof that its bearer held a lease: good until another takes it. */
export interface Fence {
  readonly lease: string;
  readonly token: number;
}

export interface LeaseClaim {
  readonly name: string;
  /** One process, never two at once nor one after another: random. */
  readonly holder: string;
  /** The same for all that ask for this lease: one that would last longer was written by a clock that went back, and is over. */
  readonly ttlMs: number;
}

export type LeaseAnswer =
  /** The token rises with each change of holder and stays with each renewal. */
  | { readonly held: true; readonly token: number }
  | { readonly held: false; readonly holder: string };
