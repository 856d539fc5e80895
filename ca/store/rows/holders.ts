export interface Acknowledgement {
  readonly serialNumber: string;
  /** Of the bundle that is held. */
  readonly sequence: number;
}

export interface HoldersQuery {
  readonly sequence: number;
  /** Only those whose newest certificate is by one of these. */
  readonly authorityIds?: readonly string[];
  readonly nowMs: number;
  readonly limit: number;
}

/** A holder that is behind, by its newest certificate. */
export interface HolderRow {
  readonly spiffeId: string;
  readonly serialNumber: string;
  readonly acknowledgedSequence: number;
  readonly notAfterMs: number;
}
