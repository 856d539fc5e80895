import { verifyPossession, type PossessionDeps } from "../attestation/possession.ts";
import type { SeenEdge } from "../contract/edges.ts";
import type { ProxySummary } from "../contract/proxies.ts";
import type { Report, ReportRequest } from "../contract/reports.ts";
import type { RateLimits } from "../rate-limits.ts";
import { Refusal } from "../refusal.ts";
import { keepTapRecords } from "./tap.ts";
import type { CertificateRow } from "../store/rows/certificates.ts";
import type { Store } from "../store/store.ts";

/** An edges report as it is kept, under the serial number of the reporter's certificate. */
export interface KeptEdges {
  readonly spiffeId: string;
  /** The certificate before this one: what was reported under it is superseded. */
  readonly renewedFrom?: string | undefined;
  readonly edges: readonly SeenEdge[];
  readonly leftOut?: number | undefined;
  /** The proxy that reported, by its certificate. */
  readonly proxy: Omit<ProxySummary, "spiffeId" | "serialNumber" | "reportedAt">;
}

export interface ReportReceiverDeps extends PossessionDeps {
  readonly store: Pick<Store, "certificate" | "report" | "reports">;
  readonly limits: Pick<RateLimits, "workload" | "anonymous">;
}

/**
 * Takes down what the holder of a certificate reports of its own workload; each replica knows it when it resolves.
 * @throws {Refusal} rate_limited | invalid_request | forbidden | not_found | proof_refused | certificate_expired | certificate_revoked
 */
export function reportReceiver(deps: ReportReceiverDeps) {
  return async function receive({ report: text, proof }: ReportRequest, report: Report): Promise<void> {
    const { row } = await verifyPossession(deps, proof, Buffer.from(text), { graceMs: 0, purpose: "report" }).catch((error: unknown) => {
      throw (error instanceof Refusal ? deps.limits.anonymous() : undefined) ?? error;
    });
    const excess = deps.limits.workload(row.spiffeId);
    if (excess !== undefined) throw excess;
    const nowMs = deps.now().getTime();
    const reportedAtMs = Date.parse(report.reportedAt);
    if (Math.abs(nowMs - reportedAtMs) > reportWindowMs) throw new Refusal("invalid_request", "reportedAt: it is more than 5 min from this CA's clock; check the clocks.");
    if (report.type === "edges") await keepEdges(deps, row, report, nowMs, reportedAtMs);
    else {
      for (const record of report.records) requireOwn(record, row.spiffeId);
      await keepTapRecords(deps.store, report, row, nowMs);
    }
  };
}

async function keepEdges({ store }: ReportReceiverDeps, row: CertificateRow, { edges, leftOut, version, inboundMode, startedAt, revocationSequence }: Extract<Report, { type: "edges" }>, nowMs: number, reportedAtMs: number): Promise<void> {
  const { spiffeId, serialNumber, renewedFrom, authorityId, notBeforeMs, notAfterMs } = row;
  for (const edge of edges) requireOwn(edge, spiffeId);
  const [notBefore, notAfter, receivedAt] = [notBeforeMs, notAfterMs, nowMs].map((ms) => new Date(ms).toISOString()) as [string, string, string];
  const proxy = {
    authorityId, notBefore, notAfter, receivedAt, ...(version !== undefined && { version }), ...(inboundMode && { inboundMode }), ...(startedAt !== undefined && { startedAt }),
    ...(revocationSequence !== undefined && { revocationSequence }),
  };
  const kept: KeptEdges = { spiffeId, renewedFrom, edges, leftOut, proxy };
  await store.report({ kind: "edges", name: serialNumber, part: "", body: JSON.stringify(kept), reportedAtMs, expiresAtMs: nowMs + edgesRetentionMs });
}

/** A workload speaks for itself only: else one could show others as talking to whom it likes. */
function requireOwn({ direction, clientId, serverId }: Pick<SeenEdge, "direction" | "clientId" | "serverId">, spiffeId: string): void {
  if ((direction === "inbound" ? serverId : clientId) === spiffeId) return;
  throw new Refusal("forbidden", `${spiffeId} may report what it takes part in only: inbound as the server, outbound as the client.`);
}

/** As far as a proof's clock may be from ours. */
const reportWindowMs = 5 * 60_000;
/** Two reports of a proxy, which come once a minute, and some to spare. */
const edgesRetentionMs = 150_000;
