export interface AuditEntry {
  readonly index: number;
  /** The exact bytes that were hashed, as text: JSON (`ca/audit/event.ts`). */
  readonly body: string;
  /** RFC 6962 leaf hash, base64. */
  readonly leafHash: string;
}

/** `GET /v1/audit/entries?start=&limit=`, ascending; fewer than `limit` entries means the end of the log. */
export interface AuditEntryPage {
  readonly entries: readonly AuditEntry[];
}

/** `GET /v1/audit/proof?index=&size=`: entry `index` is in the tree of `size` entries (RFC 6962 2.1.1). */
export interface InclusionProof {
  readonly index: number;
  readonly size: number;
  /** Base64, from the leaf's sibling up. */
  readonly hashes: readonly string[];
}

/** `GET /v1/audit/proof?oldSize=&size=`: the tree of `oldSize` entries is a prefix of that of `size` (RFC 6962 2.1.2). */
export interface ConsistencyProof {
  readonly oldSize: number;
  readonly size: number;
  /** Base64. */
  readonly hashes: readonly string[];
}
