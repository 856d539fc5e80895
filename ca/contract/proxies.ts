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

/** `GET /v1/proxies` */
export interface ProxyList {
  readonly proxies: readonly ProxySummary[];
  /** Not all of them fit. */
  readonly truncated: boolean;
}
