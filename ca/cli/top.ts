import { paths } from "../contract/paths.ts";
import type { TapEvent, TapRecord, TapRequest } from "../contract/taps.ts";
import { api, apiHelp, apiOptions } from "./api.ts";
import { noMore, readArguments, required, seconds, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";
import { pathOf, table } from "./table.ts";

/** `countersign top WORKLOAD`: live requests added up, as `linkerd viz top` does. */
export async function top(args: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals: [workload, ...rest] } = readArguments(args, { ...apiOptions, for: { type: "string" }, path: { type: "string" }, limit: { type: "string" } });
  if (values.help) {
    io.stdout(usage);
    return 0;
  }
  noMore(rest);
  const { json, print, explain } = output(values.output, io);
  const request: TapRequest = {
    workload: required(workload, "the workload", "spiffe://TD/ns/shop/sa/cart"), limit: values.limit === undefined ? maxRecords : wholeNumber(values.limit),
    ...(values.for !== undefined && { seconds: seconds(values.for, "--for") }), ...(values.path !== undefined && { path: values.path }),
  };
  const rows = new Map<string, TopRow>();
  let leftOut = 0;
  await api(values, io).follow(paths.taps, request, (event, data) => {
    const told = { event, data } as TapEvent;
    if (told.event === "tap") explain(`Open for ${told.data.seconds} s, or ${told.data.limit} requests.\n`);
    if (told.event !== "records") return;
    for (const record of told.data.records) addUp(rows, record);
    leftOut += told.data.leftOut;
    // Only where a screen is looked at: the last table is the result.
    if (io.isTerminal === true && !json) io.stderr(`${clearScreen}${topTable(rows)}`);
  });
  if (io.isTerminal === true && !json) io.stderr(clearScreen);
  print(sorted(rows), topTable(rows));
  if (leftOut > 0) explain(`${leftOut} more requests were left out: they came too fast.\n`);
  return 0;
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text) || Number(text) > maxRecords) throw new UsageError(`--limit is a number up to ${maxRecords}, not ${text}.`);
  return Number(text);
}

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

/** The rows, those asked for most first. */
export function topTable(rows: ReadonlyMap<string, TopRow>): string {
  return table(["COUNT", "GOOD", "BEST", "WORST", "SRC", "DST", "REQUEST"], sorted(rows).slice(0, maxShown).map(({ count, good, bestMs, worstMs, clientId, serverId, method, path }) => (
    [String(count), `${Math.floor((good / count) * 100)}%`, `${bestMs.toFixed(1)}ms`, `${worstMs.toFixed(1)}ms`, shortName(clientId), shortName(serverId), `${method} ${path}`]
  )));
}

function sorted(rows: ReadonlyMap<string, TopRow>): readonly TopRow[] {
  return [...rows.values()].sort((a, b) => b.count - a.count || (a.path < b.path ? -1 : 1));
}

/** The last part: the whole IDs are in -o json, and in `edges`. */
function shortName(spiffeId: string): string {
  const last = spiffeId === "" ? "-" : (pathOf(spiffeId).split("/").at(-1) ?? spiffeId);
  return last.length > maxNameLength ? `…${last.slice(1 - maxNameLength)}` : last;
}

const clearScreen = "\u001b[H\u001b[2J";
/** What a tap brings at most. */
const maxRecords = 10_000;
const maxRows = 1000;
/** A screen. */
const maxShown = 40;
const maxNameLength = 12;

const usage = `countersign top: which requests of a workload are many, slow or failing

  countersign top spiffe://TD/ns/shop/sa/cart [--for 60s] [--path /items]
      [--limit 10000]
      live requests added up by who asks whom for what; the screen is drawn
      anew as they come, and the last table stays
      GOOD: answered below status 500, and whole
  For admins and auditors; the audit log says who looked at whom.
${apiHelp}`;
