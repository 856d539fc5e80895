import type { TapRecord } from "../contract/taps.ts";
import { pathOf, table } from "./table.ts";

/** All requests of one method and path between two. */
export interface TopRow {
  readonly clientId: string;
  readonly serverId: string;
  readonly method: string;
  readonly path: string;
  count: number;
  /** Answered below 500, and whole. */
  good: number;
  bestMs: number;
  worstMs: number;
  lastMs: number;
}

/** Counts a request among those like it; beyond a bound of rows, with all others together. */
export function addUp(rows: Map<string, TopRow>, { clientId, serverId, method, path, status, whole, latencyMs }: TapRecord): void {
  const named = JSON.stringify([clientId, serverId, method, path]);
  const isOther = !rows.has(named) && rows.size >= maxRows;
  const key = isOther ? "" : named;
  const row = rows.get(key) ?? {
    ...(isOther ? { clientId: "", serverId: "", method: "*", path: "all others" } : { clientId, serverId, method, path }), count: 0, good: 0, bestMs: Infinity, worstMs: 0, lastMs: 0,
  };
  rows.set(key, row);
  row.count += 1;
  if (whole && status > 0 && status < 500) row.good += 1;
  row.bestMs = Math.min(row.bestMs, latencyMs);
  row.worstMs = Math.max(row.worstMs, latencyMs);
  row.lastMs = latencyMs;
}

/** The rows as a table that fits a screen. */
export function topTable(rows: ReadonlyMap<string, TopRow>): string {
  return table(["COUNT", "GOOD", "BEST", "WORST", "SRC", "DST", "REQUEST"], sortedRows(rows).slice(0, maxShown).map(({ count, good, bestMs, worstMs, clientId, serverId, method, path }) => (
    [String(count), `${Math.floor((good / count) * 100)}%`, `${bestMs.toFixed(1)}ms`, `${worstMs.toFixed(1)}ms`, shortName(clientId), shortName(serverId), `${method} ${path}`]
  )));
}

/** Those asked for most first. */
export function sortedRows(rows: ReadonlyMap<string, TopRow>): readonly TopRow[] {
  return [...rows.values()].sort((a, b) => b.count - a.count || (a.path < b.path ? -1 : 1));
}

/** The last part: the whole IDs are in -o json, and in `edges`. */
function shortName(spiffeId: string): string {
  const last = spiffeId === "" ? "-" : (pathOf(spiffeId).split("/").at(-1) ?? spiffeId);
  return last.length > maxNameLength ? `…${last.slice(1 - maxNameLength)}` : last;
}

const maxRows = 1000;
/** A screen. */
const maxShown = 40;
const maxNameLength = 12;
