import { setImmediate } from "node:timers/promises";
import type { ProxySummary } from "../contract/proxies.ts";
import type { ReportRow } from "../store/rows/reports.ts";
import type { Store } from "../store/store.ts";
import { edgeTally, type Talk } from "./edge-tally.ts";
import type { KeptEdges } from "./receive.ts";
import { inTextOrder } from "./text-order.ts";

/** What proxies reported lately, put together. */
export interface Reported {
  /** One for each proxy, those first whose certificates end first. */
  readonly proxies: readonly ProxySummary[];
  readonly bySerialNumber: ReadonlyMap<string, ProxySummary>;
  /** By client, then server. */
  readonly talks: readonly Talk[];
  /** There are more proxies than are looked at. */
  readonly proxiesLeftOut: boolean;
  /** There are more edges than that, or proxies left some out. */
  readonly talksLeftOut: boolean;
}

export interface ReportReadingDeps {
  readonly store: Pick<Store, "reports">;
  readonly now: () => Date;
  readonly maxProxies?: number;
}

/**
 * Makes the reading of all reports. Those who ask at once share it; it is a second old at most, or up to ten where it took
 * long, so that whoever looks costs a tenth of a core. Others have their turn between its pages.
 */
export function reportReading({ store, now, maxProxies = defaultMaxProxies }: ReportReadingDeps): () => Promise<Reported> {
  let reading: Promise<Reported> | undefined;
  let askedAtMs = -Infinity;
  let staleAfterMs = minStaleMs;

  async function read(nowMs: number): Promise<Reported> {
    const reports: Report[] = [];
    const superseded = new Set<string>();
    const tally = edgeTally();
    let last: ReportRow | undefined;
    let more = true;
    while (more && reports.length < maxProxies + spare) {
      const page = await store.reports({ kind: "edges", nowMs, limit: pageSize, ...(last && { after: last }) });
      let parsedLength = 0;
      for (const { name, body, reportedAtMs } of page) {
        parsedLength += body.length;
        if (parsedLength > maxParsedAtOnce) {
          parsedLength = 0;
          await setImmediate();
        }
        const { edges, leftOut = 0, renewedFrom, spiffeId, proxy } = JSON.parse(body) as KeptEdges;
        if (renewedFrom !== undefined) superseded.add(renewedFrom);
        reports.push({ summary: { spiffeId, serialNumber: name, ...proxy, reportedAt: new Date(reportedAtMs).toISOString() }, take: tally.note(spiffeId, edges, reportedAtMs), leftOut: leftOut > 0 });
      }
      last = page.at(-1);
      more = page.length === pageSize;
      await setImmediate();
    }
    // What a proxy reported by a certificate that it has renewed since is superseded.
    const present = reports.filter(({ summary }) => !superseded.has(summary.serialNumber));
    const looked = present.slice(0, maxProxies);
    for (const [index, { take }] of looked.entries()) {
      take();
      if (index % pageSize === 0) await setImmediate();
    }
    const proxies = looked.map(({ summary }) => summary).sort((a, b) => inTextOrder(a.notAfter, b.notAfter) || inTextOrder(a.spiffeId, b.spiffeId) || inTextOrder(a.serialNumber, b.serialNumber));
    await setImmediate();
    return {
      proxies, bySerialNumber: new Map(proxies.map((proxy) => [proxy.serialNumber, proxy])), talks: await tally.talks(),
      proxiesLeftOut: more || present.length > maxProxies, talksLeftOut: more || tally.isFull() || looked.some(({ leftOut }) => leftOut),
    };
  }

  return () => {
    const nowMs = now().getTime();
    if (reading === undefined || Math.abs(nowMs - askedAtMs) >= staleAfterMs) {
      askedAtMs = nowMs;
      staleAfterMs = minStaleMs;
      const startedMs = performance.now();
      reading = read(nowMs);
      reading.then(() => (staleAfterMs = Math.min(maxStaleMs, Math.max(minStaleMs, (performance.now() - startedMs) * tenfold))), () => (reading = undefined));
    }
    return reading;
  };
}

interface Report {
  readonly summary: ProxySummary;
  /** Counts its edges. */
  readonly take: () => void;
  readonly leftOut: boolean;
}

/** Some milliseconds, as proxies with a few edges each report. */
const pageSize = 250;
/** Characters, some milliseconds as well: a proxy's report may be 48 KiB. */
const maxParsedAtOnce = 512 * 1024;
/** Some 20 MB. */
const defaultMaxProxies = 20_000;
/** Reports that are superseded and have not expired yet. */
const spare = 1_000;
const minStaleMs = 1000;
const maxStaleMs = 10_000;
const tenfold = 10;
