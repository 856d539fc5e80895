/** A proxy as it reported itself within the last minutes, by the certificate whose key signed the report. */
export interface ProxySummary {
  readonly spiffeId: string;
  readonly serialNumber: string;
  readonly authorityId: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** By its clock, and by the CA's. */
  readonly reportedAt: string;
  readonly receivedAt: string;
  readonly version?: string;
  /** What becomes of inbound connections that policy denies; undefined where none are taken. */
  readonly inboundMode?: "strict" | "audit" | "permissive";
  /** Of the proxy's process, by its clock. */
  readonly startedAt?: string;
  /** Of the newest revocation that it enforces. */
  readonly revocationSequence?: number;
}

/** `GET /v1/proxies`, those first whose certificates end first. */
export interface ProxyList {
  readonly proxies: readonly ProxySummary[];
  /** On all pages. */
  readonly total: number;
  /** There are more than are ever looked at. */
  readonly truncated: boolean;
  /** Opaque: the `cursor` of the next page; absent on the last one. */
  readonly nextCursor?: string | undefined;
}
