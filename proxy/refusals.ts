import type { Direction } from "./connections.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";

export interface Refusal {
  /** Stable word for metrics. */
  readonly reason: string;
  /** Who was refused: a SPIFFE ID if one was established, else an address. */
  readonly peer: string;
  readonly message: string;
}

export interface RefusalDeps {
  readonly direction: Direction;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Makes the reporter of refusals: each is counted; the log has one line a second for a peer and reason, with the number held back. */
export function refusalReporter({ direction, metrics, log, now }: RefusalDeps): (refusal: Refusal) => void {
  const refused = metrics.counter(`${direction}_refused_total`, "What was turned away, by reason", ["reason"]);
  const logged = new Map<string, { atMs: number; heldBack: number }>();
  return ({ reason, peer, message }) => {
    refused.inc({ reason });
    const key = `${reason} ${peer}`;
    const nowMs = now();
    const last = logged.get(key);
    if (last !== undefined && nowMs - last.atMs < logIntervalMs) {
      last.heldBack += 1;
      return;
    }
    logged.delete(key);
    logged.set(key, { atMs: nowMs, heldBack: 0 });
    const [oldest] = logged.size > maxRemembered ? logged.keys() : [];
    if (oldest !== undefined) logged.delete(oldest);
    log.warn({ direction, reason, peer, ...(last !== undefined && last.heldBack > 0 && { heldBack: last.heldBack }) }, message);
  };
}

const logIntervalMs = 1000;
/** Peers choose how many they are; memory is ours. */
const maxRemembered = 1024;
