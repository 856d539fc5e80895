import { createHash } from "node:crypto";
import type { Report } from "../../ca/contract/reports.ts";
import { tapTarget, type TapNotice, type TapRecord } from "../../ca/contract/taps.ts";
import type { CaClient } from "../ca-client.ts";
import { CaError } from "../ca-error.ts";
import type { Clock } from "../clock.ts";
import type { Exchanges } from "../exchanges.ts";
import type { Identity } from "../identity/source.ts";
import type { Log } from "../log.ts";
import { signReport } from "../reporting.ts";
import { tapExchanges } from "./tapped.ts";

/** Who asks, who is asked, and what is shown. */
export interface RemoteTapDeps {
  readonly client: Pick<CaClient, "report">;
  readonly trustDomain: string;
  /** Undefined while there is none, or it has expired. */
  readonly identity: () => Identity | undefined;
  readonly exchanges: Exchanges;
  readonly clock: Clock;
  readonly log: Log;
}

/** Shows requests to operators of the CA. */
export interface RemoteTaps {
  /** The CA's stream told of a tap, maybe not for the first time. */
  heardOf(notice: TapNotice): void;
  stop(): void;
}

/**
 * Answers the taps of the CA that are meant for this workload: reports its requests twice a second until the tap is over, or the CA says that
 * it is: one that nobody looks at any more ends within seconds. What does not fit, or does not arrive, is left out and counted: nothing
 * waits for it.
 */
export function remoteTaps({ client, trustDomain, identity, exchanges, clock, log }: RemoteTapDeps): RemoteTaps {
  const open = new Map<string, { end(): void; askWithNext(): void }>();
  /** Taps that came while others had all places. */
  const waitingTaps: { readonly notice: TapNotice; readonly untilMs: number }[] = [];
  /** Those that are over are told again to whoever reconnects. */
  const known = new Set<string>();

  function start({ tap, seconds, limit, target: _, ...filter }: TapNotice): void {
    let waiting: TapRecord[] = [];
    let waitingLength = 0;
    let lost = 0;
    let atLimit = false;
    let askedAtMs = clock.now();
    let cancel = (): void => undefined;
    const deadlineMs = clock.now() + Math.min(seconds, maxSeconds) * 1000;
    log.info({ tap, seconds }, "an operator of the CA looks at the requests of this workload");

    const tapped = tapExchanges(exchanges, {
      filter, limit: Math.min(limit, maxRecords), perSecond: maxPerSecond, onLimit: () => void (atLimit = true),
      take(record) {
        const { length } = JSON.stringify(record);
        if (waiting.length >= maxBatch || waitingLength + length > maxBatchLength || (record.direction === "inbound" ? record.serverId : record.clientId) !== identity()?.id.uri) return false;
        waiting.push(record);
        waitingLength += length + 1;
        return true;
      },
    });

    function end(): void {
      cancel();
      tapped.stop();
      open.delete(tap);
      for (let next = waitingTaps.shift(); next !== undefined; next = waitingTaps.shift()) {
        const leftSeconds = Math.ceil((next.untilMs - clock.now()) / 1000);
        if (leftSeconds > 0) return start({ ...next.notice, seconds: leftSeconds });
      }
    }

    async function report(): Promise<void> {
      const by = identity();
      const nowMs = clock.now();
      const over = atLimit || nowMs >= deadlineMs;
      const records = waiting;
      const leftOut = tapped.takeLeftOut() + lost;
      [waiting, waitingLength, lost] = [[], 0, 0];
      // With nothing to tell it is a question: whether anybody still looks.
      if (by !== undefined && (records.length > 0 || leftOut > 0 || nowMs - askedAtMs >= askIntervalMs)) {
        askedAtMs = nowMs;
        const text: Report = { type: "tap", reportedAt: new Date(nowMs).toISOString(), tap, records, leftOut };
        try {
          await client.report(signReport(text, by, trustDomain, nowMs));
        } catch (error) {
          if (error instanceof CaError && error.problemCode === "not_found") return end();
          lost = records.length + leftOut;
        }
      }
      if (over) end();
      else if (open.has(tap)) cancel = clock.after(intervalMs, () => void report());
    }

    open.set(tap, { end, askWithNext: () => void (askedAtMs = 0) });
    cancel = clock.after(intervalMs, () => void report());
  }

  return {
    heardOf(notice) {
      const id = identity()?.id.uri;
      if (known.has(notice.tap) || waitingTaps.length >= maxWaiting || id === undefined) return;
      if (createHash("sha256").update(tapTarget(notice.tap, id)).digest("hex") !== notice.target) return;
      known.add(notice.tap);
      const [oldest] = known.size > maxKnown ? known : [];
      if (oldest !== undefined) known.delete(oldest);
      if (open.size < maxOpen) return start(notice);
      waitingTaps.push({ notice, untilMs: clock.now() + notice.seconds * 1000 });
      for (const { askWithNext } of open.values()) askWithNext();
    },
    stop() {
      waitingTaps.length = 0;
      for (const { end } of [...open.values()]) end();
    },
  };
}

const intervalMs = 500;
/** What the CA takes in one report: 200 records, 48 KiB. */
const maxBatch = 200;
const maxBatchLength = 44 * 1024;
const maxPerSecond = 200;
const maxRecords = 10_000;
const maxSeconds = 600;
const maxOpen = 2;
/** As many as the CA has open at most. */
const maxWaiting = 16;
const askIntervalMs = 5000;
const maxKnown = 64;
