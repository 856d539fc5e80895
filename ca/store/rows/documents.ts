/** What is decided by operators and may be taken back: who operates, who may call whom, who answers to a name. */
export type DocumentKind = "operator" | "policy" | "service" | FederationKind;

/**
 * `federation`: another trust domain whose bundle is fetched, and where. `foreign-bundle`: the last good one. `federation-invitation`:
 * a secret, hashed, for which another CA may add itself. `federation-hub`: a hub that is subscribed to, and the list that was taken last.
 */
export type FederationKind = "federation" | "foreign-bundle" | "federation-invitation" | "federation-hub";

export interface DocumentRow {
  readonly kind: DocumentKind;
  readonly name: string;
  /** JSON; absent when it was removed. */
  readonly body?: string;
  /** Rises with each change, of all documents together. */
  readonly sequence: number;
  readonly changedAtMs: number;
  readonly changedBy: string;
}
