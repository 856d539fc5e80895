import type { Direction } from "./connections.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { pacedByName } from "./paced.ts";

export interface Refusal {
  /** Stable word for metrics. */
  readonly reason: string;
  /** Who was refused: a SPIFFE ID if one was established, else an address. */
  readonly peer: string;
  /** Of a stranger, who comes from another port each time: what is paced as one (`networkOf`). */
  readonly network?: string;
  readonly message: string;
}

export interface RefusalDeps {
  readonly direction: Direction;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Makes the reporter of refusals: each is counted; the log has one line a second for a peer, or a stranger's network, and reason, with the number held back. */
export function refusalReporter({ direction, metrics, log, now }: RefusalDeps): (refusal: Refusal) => void {
  const refused = metrics.counter(`${direction}_refused_total`, "What was turned away, by reason", ["reason"]);
  const paced = pacedByName(now);
  return ({ reason, peer, network = peer, message }) => {
    refused.inc({ reason });
    paced(`${reason} ${network}`, (heldBack) => log.warn({ direction, reason, peer, ...(heldBack > 0 && { heldBack }) }, message));
  };
}
