/** One request that passed a proxy; nothing of a body, a header or a query. */
export interface TapRecord {
  readonly startedAt: string;
  readonly direction: "inbound" | "outbound";
  readonly clientId: string;
  readonly serverId: string;
  readonly tls: boolean;
  /** Why not; a word. */
  readonly noTlsReason?: string;
  readonly protocol: string;
  readonly method: string;
  readonly path: string;
  /** 0: it was broken off before there was a response. */
  readonly status: number;
  readonly latencyMs: number;
  /** False: it was broken off. */
  readonly whole: boolean;
}

/** A tapped request as one line for people. @param columns  that it is to fit: names lose their beginnings for it, and then the path its end */
export function tapLine({ startedAt, direction, clientId, serverId, tls, noTlsReason, method, path, status, latencyMs, whole }: TapRecord, columns = 79): string {
  const name = (id: string): string => (id === "" ? "-" : id.replace("spiffe://", ""));
  const outcome = status === 0 ? "-" : `${status}${whole ? "" : " (broken off)"}`;
  const secured = tls ? "tls=true" : `tls=false (${(noTlsReason ?? "unknown").replaceAll("_", " ")})`;
  const line = (shownPath: string, nameLength: number): string => (
    `${startedAt.slice(11, 23)} ${direction === "inbound" ? "in " : "out"} ${method} ${shownPath} ${outcome} ${latencyMs.toFixed(1)}ms ` +
    `${endOf(name(clientId), nameLength)} > ${endOf(name(serverId), nameLength)} ${secured}`
  );
  const fitting = nameLengths.find((length) => line(path, length).length <= columns);
  if (fitting !== undefined) return line(path, fitting);
  const over = line(path, shortest).length - columns;
  const cut = line(path.length <= minPathLength ? path : `${path.slice(0, Math.max(minPathLength, path.length - over) - 1)}…`, shortest);
  return cut.length <= columns ? cut : `${cut.slice(0, columns - 1)}…`;
}

function endOf(name: string, length: number): string {
  return name.length <= length ? name : `…${name.slice(1 - length)}`;
}

/** Which requests are wanted; what is left out is no condition. */
export interface TapFilter {
  readonly direction?: "inbound" | "outbound";
  /** Upper case. */
  readonly method?: string;
  /** What the path begins with. */
  readonly path?: string;
}

/** `POST /v1/taps`: show an operator live requests of one workload. The answer is a stream of `TapEvent`. */
export interface TapRequest extends TapFilter {
  readonly workload: string;
  /** Default 60. */
  readonly seconds?: number;
  /** Records; default 1000. */
  readonly limit?: number;
}

/** A server-sent event each: that it is open, what it brought, that it is over. */
export type TapEvent =
  | { readonly event: "tap"; readonly data: { readonly tap: string; readonly seconds: number; readonly limit: number } }
  | { readonly event: "records"; readonly data: { readonly records: readonly TapRecord[]; readonly leftOut: number } }
  | { readonly event: "end"; readonly data: { readonly reason: "time" | "limit" | "closing" | "failed" } };

/** The watch event `tap`: whom it concerns reports its requests until it is over or the CA no longer takes them. */
export interface TapNotice extends TapFilter {
  readonly tap: string;
  /** Names the workload to itself alone: `tapTarget`. */
  readonly target: string;
  /** From now on. */
  readonly seconds: number;
  readonly limit: number;
}

/** What the target of a tap is a hash of, SHA-256 in hex: the feed is public, and who is looked at is not. */
export function tapTarget(tap: string, workload: string): string {
  return `${tap} ${workload}`;
}

const shortest = 9;
const nameLengths = [Infinity, 24, 16, 12, shortest];
const minPathLength = 8;
