import type { Revocation, RevocationBatch } from "../contract/revocations.ts";
import type { PolicyNotice } from "../contract/watch.ts";
import { noticeOf } from "../reports/tap-row.ts";
import type { RevocationRow } from "../store/rows/revocations.ts";
import type { Store } from "../store/store.ts";
import type { SourceName } from "./cursor.ts";

/** What the sources read. */
export interface SourceDeps {
  readonly store: Pick<Store, "revocations" | "announcements" | "reports">;
  /** The own trust domain's bundle, of this sequence or a later one. */
  readonly bundle: (sequence: number) => Promise<{ readonly jwks: string; readonly sequence: string }>;
  /** Whether a policy or service changed behind a sequence of the documents. */
  readonly policyChanged: (after: number) => Promise<boolean>;
  /** What changed of other trust domains behind a sequence of the documents; undefined when nothing did. */
  readonly federation: (after: number) => Promise<{ readonly json: string; readonly sequence: number; readonly more: boolean } | undefined>;
  readonly now: () => Date;
}

/** What a source has to tell from a position on. */
export interface Told {
  /** One event each. */
  readonly data: readonly string[];
  /** Position behind them. */
  readonly sequence: number;
  /** More waits behind `sequence`. */
  readonly more: boolean;
}

/** Tells what is behind `after`; `newest` is how far there is something. */
export type Source = (after: number, newest: number) => Promise<Told>;

/** Everything the feed tells of. A new kind of event is one more row here, one more name in `sourceNames` and its type in the contract. */
export function feedSources({ store, bundle, policyChanged, federation, now }: SourceDeps): Readonly<Record<SourceName, Source>> {
  return {
    async bundle(after, newest) {
      if (after >= newest) return { data: [], sequence: after, more: false };
      const { jwks, sequence } = await bundle(newest);
      return { data: [jwks], sequence: Math.max(Number(sequence), newest), more: false };
    },
    // Also tells that there is nothing: a reader knows the whole list once it has seen a page behind which there is no more.
    async revocation(after, newest) {
      const rows = after >= newest ? [] : await store.revocations({ after, limit: pageSize + 1 });
      const page = rows.slice(0, pageSize);
      const more = rows.length > pageSize;
      const sequence = more ? page.at(-1)!.sequence : Math.max(page.at(-1)?.sequence ?? 0, newest);
      const data = { revocations: page.map(describeRevocation), sequence, more } satisfies RevocationBatch;
      return { data: [JSON.stringify(data)], sequence, more };
    },
    // Who may call whom is for the workload it concerns: here is told that something changed, and each asks for its own.
    async policy(after, newest) {
      if (after >= newest) return { data: [], sequence: after, more: false };
      // Every proxy asks then; with a thousand trust domains there is always one whose bundle changed.
      if (after > 0 && !await policyChanged(after)) return { data: [], sequence: newest, more: false };
      return { data: [JSON.stringify({ sequence: newest } satisfies PolicyNotice)], sequence: newest, more: false };
    },
    // The ones that are open, all of them: there are few, and a proxy knows which it has heard of.
    async tap(after, newest) {
      if (after >= newest) return { data: [], sequence: newest, more: false };
      const rows = await store.reports({ kind: "tap", nowMs: now().getTime(), limit: pageSize });
      return { data: rows.filter(({ reportedAtMs }) => reportedAtMs > after).map((row) => JSON.stringify(noticeOf(row))), sequence: newest, more: false };
    },
    async federation(after, newest) {
      if (after >= newest) return { data: [], sequence: after, more: false };
      const notice = await federation(after);
      if (notice === undefined) return { data: [], sequence: newest, more: false };
      return { data: [notice.json], sequence: notice.more ? notice.sequence : Math.max(notice.sequence, newest), more: notice.more };
    },
    async renew(after, newest) {
      if (after >= newest) return { data: [], sequence: after, more: false };
      const rows = await store.announcements({ after, nowMs: now().getTime(), limit: pageSize });
      const more = rows.length === pageSize;
      return { data: rows.map(({ body }) => body), sequence: more ? rows.at(-1)!.sequence : Math.max(rows.at(-1)?.sequence ?? 0, newest), more };
    },
  };
}

/** A revocation as the contract has it. */
export function describeRevocation({ sequence, serialNumber, reason, revokedAtMs, notAfterMs }: RevocationRow): Revocation {
  return {
    sequence,
    serialNumber,
    reason,
    revokedAt: new Date(revokedAtMs).toISOString(),
    notAfter: new Date(notAfterMs).toISOString(),
  };
}

/** Revocations of one event: some 90 KiB. */
const pageSize = 500;
