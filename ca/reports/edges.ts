import type { EdgeList, EdgeSummary } from "../contract/edges.ts";
import type { ReportRow } from "../store/rows/reports.ts";
import type { Store } from "../store/store.ts";
import type { KeptEdges } from "./receive.ts";

export interface EdgeReaderDeps {
  readonly store: Pick<Store, "reports">;
  readonly now: () => Date;
}

/** Makes the reading of who talks to whom; those who ask at once share it, and it is up to a second old. */
export function edgeReader({ store, now }: EdgeReaderDeps) {
  let reading: Promise<Merged> | undefined;
  let readAtMs = -Infinity;

  async function read(nowMs: number): Promise<Merged> {
    const rows: ReportRow[] = [];
    for (let page: readonly ReportRow[] = [], pages = 0; pages === 0 || (page.length === pageSize && pages < maxPages); pages++) {
      const last = rows.at(-1);
      page = await store.reports({ kind: "edges", nowMs, limit: pageSize, ...(last && { after: last }) });
      rows.push(...page);
    }
    return mergeEdges(rows);
  }

  return async function edges(isInView: (spiffeId: string) => boolean): Promise<EdgeList> {
    const nowMs = now().getTime();
    if (reading === undefined || Math.abs(nowMs - readAtMs) >= staleAfterMs) {
      readAtMs = nowMs;
      reading = read(nowMs);
      reading.catch(() => (reading = undefined));
    }
    const { edges: all, reporters, leftOut } = await reading;
    const seen = all.filter(({ clientId, serverId }) => [clientId, serverId].some((id) => id !== "" && isInView(id)));
    return { edges: seen.slice(0, maxEdges), proxies: reporters.filter(isInView).length, truncated: leftOut || seen.length > maxEdges };
  };
}

interface Merged {
  /** By client, then server. */
  readonly edges: readonly EdgeSummary[];
  /** SPIFFE IDs of the proxies that reported, one for each. */
  readonly reporters: readonly string[];
  readonly leftOut: boolean;
}

/**
 * Puts reports together: one edge for each pair and what is said of its security. Of a pair that one side calls secured and the
 * other does not, both are told: it is for people to see.
 */
export function mergeEdges(rows: readonly ReportRow[]): Merged {
  const reports = rows.map((row) => ({ ...row, kept: JSON.parse(row.body) as KeptEdges }));
  const superseded = new Set(reports.map(({ kept }) => kept.renewedFrom));
  const present = reports.filter(({ name }) => !superseded.has(name));
  const found = new Map<string, Found>();
  for (const { kept, reportedAtMs } of present) {
    for (const { direction, clientId, serverId, secured, reason, protocol, connections } of kept.edges) {
      // What is not said to be secured, or not why it is not, is not secured.
      const why = secured ? undefined : (reason ?? "unknown");
      const key = JSON.stringify([clientId, serverId, why]);
      const edge = found.get(key) ?? { clientId, serverId, secured, reason: why, protocols: new Set(), inbound: 0, outbound: 0, seenBy: new Set(), lastSeenMs: 0 };
      if (!found.has(key)) found.set(key, edge);
      edge[direction] += connections;
      edge.seenBy.add(direction === "inbound" ? "server" : "client");
      if (protocol !== undefined) edge.protocols.add(protocol);
      edge.lastSeenMs = Math.max(edge.lastSeenMs, reportedAtMs);
    }
  }
  const edges = [...found.values()].map(summarize).sort((a, b) => compare(a.clientId, b.clientId) || compare(a.serverId, b.serverId) || compare(a.reason ?? "", b.reason ?? ""));
  return { edges, reporters: present.map(({ kept }) => kept.spiffeId), leftOut: present.some(({ kept }) => (kept.leftOut ?? 0) > 0) };
}

interface Found {
  readonly clientId: string;
  readonly serverId: string;
  readonly secured: boolean;
  readonly reason: string | undefined;
  readonly protocols: Set<string>;
  inbound: number;
  outbound: number;
  readonly seenBy: Set<"client" | "server">;
  lastSeenMs: number;
}

/** Each connection has two ends, and one may have no proxy or not have reported yet. */
function summarize({ clientId, serverId, secured, reason, protocols, inbound, outbound, seenBy, lastSeenMs }: Found): EdgeSummary {
  return {
    clientId, serverId, secured, ...(reason !== undefined && { reason }), protocols: [...protocols].sort(), connections: Math.max(inbound, outbound),
    seenBy: [...seenBy].sort(), lastSeen: new Date(lastSeenMs).toISOString(),
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const staleAfterMs = 1000;
const pageSize = 500;
/** Reports of 20 000 proxies. */
const maxPages = 40;
/** Some 2 MB. */
const maxEdges = 5000;
