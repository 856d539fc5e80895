import { createHash } from "node:crypto";
import { tapTarget, type TapFilter, type TapNotice } from "../contract/taps.ts";
import type { ReportRow } from "../store/rows/reports.ts";

/** A tap that is open, as it is kept: under its ID. */
export interface KeptTap {
  readonly workload: string;
  /** Who opened it. */
  readonly actor: string;
  readonly filter: TapFilter;
  readonly limit: number;
}

/** What the feed tells of a tap. */
export function noticeOf({ name, body, reportedAtMs, expiresAtMs }: ReportRow): TapNotice {
  const { workload, filter, limit } = JSON.parse(body) as KeptTap;
  return { tap: name, target: createHash("sha256").update(tapTarget(name, workload)).digest("hex"), seconds: Math.ceil((expiresAtMs - reportedAtMs) / 1000), limit, ...filter };
}
