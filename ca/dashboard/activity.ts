import { decodeEntry, type RecordedEvent } from "../audit/event.ts";
import { parseCheckpoint } from "../audit/checkpoint.ts";
import { parseNote } from "../audit/note.ts";
import type { AuditEntryPage } from "../contract/audit.ts";
import { paths } from "../contract/paths.ts";
import type { Ask } from "./ask.ts";

/** An entry of the audit log. */
export interface Act {
  readonly index: number;
  readonly timeMs: number;
  readonly event: RecordedEvent;
}

export interface Recent {
  /** Of the last hour, or as many as are kept; ascending. */
  readonly acts: readonly Act[];
  /** Size of the log. */
  readonly size: number;
  /** False when the last hour has more acts than are kept. */
  readonly whole: boolean;
}

/**
 * Reads what was done within the last hour, from the log. What it has read it remembers, for whoever may read the log: that they may is
 * asked each time, with the entries that are new.
 * @returns undefined for whose role may not read the log
 */
export function recentActs(): (ask: Ask, nowMs: number) => Promise<Recent | undefined> {
  let acts: readonly Act[] = [];
  let from = 0;
  let until = 0;
  return async (ask, nowMs) => {
    const { size } = parseCheckpoint(parseNote(await ask.fetchPublic(paths.auditCheckpoint)));
    const start = Math.max(until, size - maxActs);
    // One entry that is known already shows that this caller may read any.
    const pages = await readPages(ask, Math.max(0, Math.min(start, size - 1)), size);
    if (pages === undefined) return undefined;
    const fresh = pages.filter(({ index }) => index >= until);
    if (start > until || until === 0) from = start;
    const known = start > until ? [] : acts;
    acts = [...known, ...fresh].filter(({ timeMs }) => timeMs > nowMs - spanMs).slice(-maxActs);
    until = Math.max(until, size);
    return { acts, size, whole: from === 0 || (acts[0]?.index ?? Infinity) > from };
  };
}

async function readPages(ask: Ask, start: number, size: number): Promise<readonly Act[] | undefined> {
  const acts: Act[] = [];
  for (let next = start; next < size; next += pageSize) {
    const page = await ask.maybe<AuditEntryPage>(`${paths.auditEntries}?start=${next}&limit=${pageSize}`);
    if (page === undefined) return undefined;
    acts.push(...page.entries.flatMap(({ index, body }) => {
      const event = decodeEntry(body);
      return event === undefined ? [] : [{ index, timeMs: Date.parse(event.time), event }];
    }));
  }
  return acts;
}

const pageSize = 1000;
/** Twice what 10 000 workloads of a day have in an hour, and some. */
const maxActs = 3000;
const spanMs = 3_600_000;
