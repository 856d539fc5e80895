import { randomBytes } from "node:crypto";
import { encodeEntry, type Actor } from "../audit/event.ts";
import type { Report } from "../contract/reports.ts";
import type { TapEvent, TapRecord, TapRequest } from "../contract/taps.ts";
import { parseSpiffeId } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";
import type { ReportRow } from "../store/rows/reports.ts";
import type { Store } from "../store/store.ts";
import type { KeptTap } from "./tap-row.ts";

export interface TapDeps {
  readonly store: Pick<Store, "commit" | "report" | "reports" | "dropReports">;
  readonly now: () => Date;
  readonly trustDomain: string;
}

/** Shows live requests of a workload to who may see them. */
export interface Taps {
  /**
   * Opens a tap; that it was is in the audit log before anything is shown. The stream ends with its time, its last record, or its reader.
   * @throws {Refusal} spiffe_id_refused | rate_limited
   */
  open(request: TapRequest, actor: Actor): Promise<ReadableStream<TapEvent>>;
  /** Ends every stream. */
  close(): void;
}

/** The batches of a tap, as proxies bring them to any replica. */
interface KeptRecords {
  readonly records: readonly TapRecord[];
  readonly leftOut: number;
}

/** Makes the taps of this replica. What they bring comes by the store, since the proxy reports to whichever replica it reaches. */
export function tapService({ store, now, trustDomain }: TapDeps): Taps {
  const open = new Set<() => void>();

  async function begin({ workload, seconds = defaultSeconds, limit = defaultLimit, ...filter }: TapRequest, actor: Actor): Promise<ReportRow> {
    if (parseSpiffeId(workload).trustDomain !== trustDomain) {
      throw new Refusal("spiffe_id_refused", `${workload} is not of this CA's trust domain, ${trustDomain}; ask the CA of its own.`);
    }
    const nowMs = now().getTime();
    const others = await store.reports({ kind: "tap", nowMs, limit: maxTaps });
    if (others.length >= maxTaps) throw new Refusal("rate_limited", `${maxTaps} taps are open already; try again when one is over.`, { retryAfterSeconds: 10 });
    const own = others.filter(({ body }) => (JSON.parse(body) as KeptTap).actor === actor);
    if (own.length >= maxTapsOfOne) throw new Refusal("rate_limited", `${actor} has ${maxTapsOfOne} taps open already, and the others are for others; try again when one is over.`, { retryAfterSeconds: 10 });
    const tap = randomBytes(16).toString("hex");
    await store.commit({ kind: "record", entries: [encodeEntry({ type: "tap.started", tap, workload, seconds, limit, ...filter }, actor, nowMs)] });
    // Later than all others, whatever the clock of the replica says that opened them: readers of the feed look behind the newest.
    const reportedAtMs = Math.max(nowMs, ...others.map((other) => other.reportedAtMs + 1));
    const row: ReportRow = {
      kind: "tap", name: tap, part: "", body: JSON.stringify({ workload, actor, filter, limit } satisfies KeptTap), reportedAtMs, expiresAtMs: reportedAtMs + seconds * 1000,
    };
    await store.report(row);
    return row;
  }

  /** What has come since the last time, in its order; it is this reader's alone. */
  async function take(tap: string): Promise<KeptRecords> {
    const rows = await store.reports({ kind: "tap-records", name: tap, nowMs: 0, limit: maxWaitingBatches });
    if (rows.length > 0) await store.dropReports(rows);
    const batches = [...rows].sort((a, b) => a.reportedAtMs - b.reportedAtMs).map(({ body }) => JSON.parse(body) as KeptRecords);
    return { records: batches.flatMap(({ records }) => records), leftOut: batches.reduce((sum, { leftOut }) => sum + leftOut, 0) };
  }

  return {
    async open(request, actor) {
      const row = await begin(request, actor);
      const { limit } = JSON.parse(row.body) as KeptTap;
      const deadlineMs = performance.now() + (row.expiresAtMs - row.reportedAtMs) + lastRecordsMs;
      let left = limit;
      let timer: NodeJS.Timeout | undefined;
      let over = false;
      let controller!: ReadableStreamDefaultController<TapEvent>;

      const tell = (event: TapEvent): void => controller.enqueue(event);
      const closing = (): void => void end("closing");

      async function end(reason: Extract<TapEvent, { event: "end" }>["data"]["reason"] | undefined): Promise<void> {
        if (over) return;
        over = true;
        clearTimeout(timer);
        open.delete(closing);
        if (reason !== undefined) {
          tell({ event: "end", data: { reason } });
          controller.close();
        }
        // Its proxies are told so with their next report. Where this fails it ends with its time.
        await take(row.name).catch(() => undefined);
        await store.dropReports([row]).catch(() => undefined);
      }

      async function look(): Promise<void> {
        // A reader that takes nothing leaves the batches where they are; there they are bounded.
        if ((controller.desiredSize ?? 0) <= 0) return schedule();
        try {
          const { records, leftOut } = await take(row.name);
          if (over) return;
          const shown = records.slice(0, left);
          left -= shown.length;
          if (shown.length > 0 || leftOut > 0) tell({ event: "records", data: { records: shown, leftOut } });
        } catch {
          return end("failed");
        }
        if (left === 0) return end("limit");
        schedule();
      }

      function schedule(): void {
        if (over) return;
        if (performance.now() >= deadlineMs) void end("time");
        else timer = setTimeout(() => void look(), pollMs);
      }

      open.add(closing);
      return new ReadableStream<TapEvent>({
        start(given) {
          controller = given;
          tell({ event: "tap", data: { tap: row.name, seconds: Math.round((row.expiresAtMs - row.reportedAtMs) / 1000), limit } });
          schedule();
        },
        cancel: () => end(undefined),
      }, { highWaterMark: maxWaitingEvents });
    },
    close() {
      for (const closing of [...open]) closing();
    },
  };
}

/**
 * Takes what a tap brought, for whoever reads it.
 * @param spiffeId  whose proxy reports: it has to be the one that is tapped
 * @throws {Refusal} not_found | rate_limited
 */
export async function keepTapRecords(
  store: Pick<Store, "report" | "reports">, { tap, records, leftOut = 0 }: Extract<Report, { type: "tap" }>, { spiffeId, serialNumber }: { readonly spiffeId: string; readonly serialNumber: string }, nowMs: number,
): Promise<void> {
  const [row] = await store.reports({ kind: "tap", name: tap, nowMs, limit: 1 });
  if (row === undefined || (JSON.parse(row.body) as KeptTap).workload !== spiffeId) throw new Refusal("not_found", "There is no such tap, or it is over.");
  const waiting = await store.reports({ kind: "tap-records", name: tap, nowMs, limit: maxWaitingBatches });
  if (waiting.length >= maxWaitingBatches) throw new Refusal("rate_limited", "Nobody has read what this tap brought so far.", { retryAfterSeconds: 1 });
  const body: KeptRecords = { records, leftOut };
  await store.report({
    kind: "tap-records", name: tap, part: `${serialNumber}.${randomBytes(8).toString("hex")}`, body: JSON.stringify(body), reportedAtMs: nowMs, expiresAtMs: row.expiresAtMs + lastRecordsMs,
  });
}

const defaultSeconds = 60;
const defaultLimit = 1000;
/** Of the whole CA. */
const maxTaps = 16;
const maxTapsOfOne = 8;
/** Some seconds of a busy workload; 48 KiB each at most. */
const maxWaitingBatches = 32;
const maxWaitingEvents = 4;
const pollMs = 250;
/** Proxies report once a second. */
const lastRecordsMs = 2000;
