import type { AuthorityHolder } from "./authorities.ts";
import type { ProxySummary } from "./proxies.ts";

/** A holder, and what its proxy said of itself lately, where that was asked for and one did. */
export interface WorkloadSummary extends AuthorityHolder {
  readonly proxy?: ProxySummary | undefined;
}

/** `GET /v1/workloads`, by ID: who holds a certificate that lives and was neither renewed nor revoked. */
export interface WorkloadList {
  readonly workloads: readonly WorkloadSummary[];
  /** On all pages. */
  readonly total: number;
  /** There are more than are listed. */
  readonly truncated: boolean;
  /** There are more proxies than are looked at: of a holder without one nobody knows whether it has one. */
  readonly proxiesTruncated?: boolean | undefined;
  /** Opaque: the `cursor` of the next page; absent on the last one. */
  readonly nextCursor?: string | undefined;
}
