import type { SeenEdge } from "./edges.ts";
import type { TapRecord } from "./taps.ts";

/** What a proxy reports of the connections and requests of its own workload. */
export type Report =
  /** Stands in place of the one before it. `leftOut`: edges that did not fit. */
  | {
      readonly type: "edges";
      readonly reportedAt: string;
      readonly edges: readonly SeenEdge[];
      readonly leftOut?: number;
      /** Of the proxy's program. */
      readonly version?: string;
      /** What becomes of inbound connections that policy denies; undefined where none are taken. */
      readonly inboundMode?: "strict" | "audit" | "permissive";
      /** Of the proxy's process. */
      readonly startedAt?: string;
      /** Of the newest revocation that it enforces. */
      readonly revocationSequence?: number;
    }
  /** What a tap brought since the last report, and how much of it did not fit. */
  | { readonly type: "tap"; readonly reportedAt: string; readonly tap: string; readonly records: readonly TapRecord[]; readonly leftOut?: number };

/** `POST /v1/reports` */
export interface ReportRequest {
  /** JSON of a `Report`: as text, since a signature is over text. */
  readonly report: string;
  /** A proof for the purpose `report` by the certificate's key, bound to the bytes of `report`. */
  readonly proof: string;
}
