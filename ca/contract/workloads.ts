import type { AuthorityHolder } from "./authorities.ts";

/** `GET /v1/workloads`, by ID: who holds a certificate that lives and was neither renewed nor revoked. */
export interface WorkloadList {
  readonly workloads: readonly AuthorityHolder[];
  /** On all pages. */
  readonly total: number;
  /** There are more than are listed. */
  readonly truncated: boolean;
  /** Opaque: the `cursor` of the next page; absent on the last one. */
  readonly nextCursor?: string | undefined;
}
