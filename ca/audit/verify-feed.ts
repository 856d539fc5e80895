import type { RenewNotice } from "../contract/watch.ts";
import type { CaState } from "../store/rows/ca-state.ts";
import type { AnnouncementRow } from "../store/rows/feed.ts";
import { misfit, type Misfit } from "./misfit.ts";
import { entriesFrom, type ReadEntry } from "./verify-tables.ts";
import type { LogReader } from "./verify.ts";

interface Said {
  trustDomain?: string;
  bundleSequence: number;
  bundleIndex: number;
  /** Of each authority, the last entry that tainted it. */
  readonly tainted: Map<string, number>;
}

/**
 * Holds against the log what connected proxies are told: the bundle's sequence, which is not to fall behind, and the calls to renew, each
 * of which is about an authority that was tainted. Announcements that were removed are not missed: they end by themselves.
 */
export function feedVerifier(source: LogReader) {
  const said: Said = { bundleSequence: 0, bundleIndex: 0, tainted: new Map() };
  return {
    page(entries: readonly ReadEntry[]): void {
      for (const entry of entries) take(entry, said);
    },
    /** After the last page: reads the rows, then what the CA has logged meanwhile, so that no row is newer than its entry. */
    async settle(size: number): Promise<Misfit | undefined> {
      const state = await source.state();
      const announcements = await source.announcements({ after: 0, nowMs: 0, limit: maxAnnouncements });
      const known = compareState(state, said);
      for await (const entry of entriesFrom(source, size)) take(entry, said);
      return known ?? compareAnnouncements(announcements, said);
    },
  };
}

function take({ index, event }: ReadEntry, into: Said): void {
  if (event?.type === "ca.initialized") into.trustDomain = event.trustDomain;
  if (event === undefined || !event.type.startsWith("authority.")) return;
  const { bundleSequence } = event as { readonly bundleSequence?: number };
  if (bundleSequence !== undefined && bundleSequence > into.bundleSequence) Object.assign(into, { bundleSequence, bundleIndex: index });
  if (event.type === "authority.state-changed" && event.to === "tainted") into.tainted.set(event.authorityId, index);
}

function compareState(state: CaState | undefined, { trustDomain, bundleSequence, bundleIndex }: Said): Misfit | undefined {
  if (state !== undefined && trustDomain !== undefined && state.trustDomain !== trustDomain) {
    return misfit("row_differs", 0, `The log began as that of the trust domain ${trustDomain}, but the store names ${state.trustDomain}: the row was altered. The log is right.`);
  }
  if (state !== undefined && state.bundleSequence < bundleSequence) {
    return misfit("row_differs", bundleIndex, `Entry ${bundleIndex} published the bundle ${bundleSequence}, but the store is at ${state.bundleSequence}: the row was ` +
      "altered, and whoever holds the newer bundle would not take the next one. The log is right.");
  }
  return undefined;
}

function compareAnnouncements(rows: readonly AnnouncementRow[], { tainted }: Said): Misfit | undefined {
  for (const { sequence, body } of rows) {
    const authorityId = authorityIn(body);
    const index = authorityId === undefined ? undefined : tainted.get(authorityId);
    // Its sequence is the index of the first entry of the act that tainted, plus one.
    if (index !== undefined && index >= sequence - 1) continue;
    return misfit("row_without_entry", undefined, `The announcements table calls on the holders of ${authorityId ?? "no authority"} to renew, but no entry from ` +
      `${sequence - 1} on tainted it: somebody wants everybody to renew at once.`);
  }
  return undefined;
}

function authorityIn(body: string): string | undefined {
  try {
    const { authorityId } = JSON.parse(body) as Partial<RenewNotice>;
    return typeof authorityId === "string" ? authorityId : undefined;
  } catch {
    return undefined;
  }
}

/** One for each authority that was ever tainted. */
const maxAnnouncements = 10_000;
