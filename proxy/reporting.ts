import type { SeenEdge } from "../ca/contract/edges.ts";
import type { Report } from "../ca/contract/reports.ts";
import { encodeRenewalProof } from "../ca/pki/renewal-proof.ts";
import type { CaClient } from "./ca-client.ts";
import { CaError } from "./ca-error.ts";
import type { Clock } from "./clock.ts";
import type { Edge } from "./edges.ts";
import { retryDelay, type Random } from "./identity/backoff.ts";
import type { Identity } from "./identity/source.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { version } from "./version.ts";

/** What is reported, by whom and to whom. */
export interface ReportingDeps {
  readonly client: Pick<CaClient, "report">;
  readonly trustDomain: string;
  /** Of who is let in; undefined where nobody is. */
  readonly inboundMode: "strict" | "audit" | "permissive" | undefined;
  /** Undefined while there is none, or it has expired. */
  readonly identity: () => Identity | undefined;
  /** Who talks to whom, and who did lately. */
  readonly edges: () => readonly Edge[];
  /** Sequence of the newest revocation in force; undefined while none is known. */
  readonly revocationSequence: () => number | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * Tells the CA who talks to whom, and by that which proxies live: once a minute, and within seconds of an edge that is new. What
 * does not arrive is told the next time; nothing else depends on it.
 * @returns ends it
 */
export function startReporting(deps: ReportingDeps): () => void {
  const { clock, random, log } = deps;
  const startedAt = new Date(clock.now()).toISOString();
  const attempts = deps.metrics.counter("reports_total", "Reports of edges to the CA, by result.", ["result"]);
  let told = new Set<string>();
  let failures = 0;
  let dueMs = clock.now() + Math.round(intervalMs * random());
  let cancel = (): void => undefined;
  let stopped = false;

  async function look(): Promise<void> {
    const identity = deps.identity();
    const nowMs = clock.now();
    // A clock that was set back must not silence us.
    if (dueMs - nowMs > maxWaitMs) dueMs = nowMs;
    if (identity !== undefined) {
      const { inboundMode } = deps;
      const { report, names } = edgesReport(deps.edges(), identity.id.uri, nowMs, { startedAt, ...(inboundMode && { inboundMode }), ...sequenceOf(deps.revocationSequence()) });
      const isNew = failures === 0 && [...names].some((name) => !told.has(name));
      if (isNew || nowMs >= dueMs) await send(identity, report, names);
    }
    if (!stopped) cancel = clock.after(lookIntervalMs, () => void look());
  }

  async function send(identity: Identity, report: Report, names: Set<string>): Promise<void> {
    try {
      await deps.client.report(signReport(report, identity, deps.trustDomain, clock.now()));
      attempts.inc({ result: "ok" });
      told = names;
      failures = 0;
      dueMs = clock.now() + intervalMs * (0.8 + 0.2 * random());
    } catch (error) {
      failures += 1;
      attempts.inc({ result: error instanceof CaError ? error.code : "internal" });
      if (failures === 1) log.warn({ error: (error as Error).message }, "the CA was not told who talks to whom; it will be");
      const refused = error instanceof CaError && error.code === "ca_refused";
      const delayMs = retryDelay(failures, refused ? "refusal" : "renewal", random, error instanceof CaError ? error.retryAfterMs : 0);
      dueMs = clock.now() + Math.min(Math.max(delayMs, lookIntervalMs), maxWaitMs);
    }
  }

  // All proxies of a CA that starts are there in the same second.
  cancel = clock.after(Math.round(lookIntervalMs * random()), () => void look());
  return () => {
    stopped = true;
    cancel();
  };
}

/** Signs a report with the key of the certificate that it is about. */
export function signReport(report: Report, { chain, privateKey }: Identity, trustDomain: string, nowMs: number): { readonly report: string; readonly proof: string } {
  const text = JSON.stringify(report);
  return { report: text, proof: encodeRenewalProof({ chain, privateKey, csr: Buffer.from(text), audience: trustDomain, nowMs, purpose: "report" }) };
}

/** The edges of this workload as a report that the CA takes: bounded, and those with most connections first. */
export function edgesReport(edges: readonly Edge[], spiffeId: string, nowMs: number, about: ProxyFacts = {}): { readonly report: Report; readonly names: Set<string> } {
  const own = edges.filter(({ direction, clientId, serverId }) => (direction === "inbound" ? serverId : clientId) === spiffeId);
  const names = new Set(own.map(({ direction, clientId, serverId, reason }) => `${direction} ${clientId} ${serverId} ${reason}`));
  const fitting: SeenEdge[] = [];
  let sizeBytes = 0;
  for (const { direction, clientId, serverId, protocol, secured, reason, connections } of [...own].sort((a, b) => b.connections - a.connections)) {
    const edge: SeenEdge = { direction, clientId, serverId, secured, connections, ...(protocol !== undefined && { protocol }), ...(reason !== undefined && { reason }) };
    sizeBytes += JSON.stringify(edge).length + 1;
    if (fitting.length >= maxEdges || sizeBytes > maxEdgesBytes) break;
    fitting.push(edge);
  }
  const leftOut = own.length - fitting.length;
  const report: Report = {
    type: "edges", reportedAt: new Date(nowMs).toISOString(), edges: fitting, ...(leftOut > 0 && { leftOut }), version, ...about,
  };
  return { report, names };
}

type ProxyFacts = Pick<Extract<Report, { type: "edges" }>, "inboundMode" | "startedAt" | "revocationSequence">;

function sequenceOf(revocationSequence: number | undefined): ProxyFacts {
  return revocationSequence === undefined ? {} : { revocationSequence };
}

const intervalMs = 60_000;
const lookIntervalMs = 3000;
const maxWaitMs = 10 * 60_000;
/** What the CA takes: 200 edges, 48 KiB. */
const maxEdges = 200;
const maxEdgesBytes = 44 * 1024;
