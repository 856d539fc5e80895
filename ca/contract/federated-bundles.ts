/**
 * The watch event `federation`, and the answer to `GET /v1/federated-bundles` for whoever cannot follow events: every trust domain that
 * is federated with now, and the bundles of those that changed; of all of them in the answer. What is not named is no longer trusted;
 * what is named and not in `bundles` is as it was.
 */
export interface FederationNotice {
  /** Rises with each change; what has a lower one than was read before is old. */
  readonly sequence: number;
  readonly trustDomains: readonly string[];
  /** SPIFFE bundles (JWK Sets) by trust domain, never pooled. */
  readonly bundles: Readonly<Record<string, unknown>>;
}
