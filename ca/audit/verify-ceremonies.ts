import { hash } from "node:crypto";
import type { CeremonyRow } from "../store/rows/ceremonies.ts";
import { misfit, type Misfit } from "./misfit.ts";
import { entriesFrom, type ReadEntry } from "./verify-tables.ts";
import type { LogReader } from "./verify.ts";

interface Said {
  readonly requested: Map<string, number>;
  /** Answered or withdrawn. */
  readonly closed: Map<string, number>;
}

/** Holds the requests to offline keys against the log: one that was opened again, or put there, would let a root or intermediate in. */
export function ceremonyVerifier(source: LogReader) {
  const logged = nothingSaid();
  return {
    page(entries: readonly ReadEntry[]): void {
      for (const entry of entries) take(entry, logged);
    },
    /** After the last page: reads the rows, then what the CA has logged meanwhile, so that no row is newer than its entry. */
    async settle(size: number): Promise<Misfit | undefined> {
      const rows = await source.ceremonies({ limit: maxCeremonies });
      const late = nothingSaid();
      for await (const entry of entriesFrom(source, size)) take(entry, late);
      return compare(rows, logged, late);
    },
  };
}

function take({ index, event }: ReadEntry, into: Said): void {
  if (event?.type === "ceremony.requested") into.requested.set(event.ceremony, index);
  if (event?.type === "ceremony.answered" || event?.type === "ceremony.withdrawn") into.closed.set(event.ceremony, index);
}

function compare(rows: readonly CeremonyRow[], logged: Said, late: Said): Misfit | undefined {
  for (const { id, request, closedAtMs } of rows) {
    const index = logged.requested.get(id) ?? late.requested.get(id);
    if (index === undefined) {
      return misfit("row_without_entry", undefined, `The ceremonies table has the request ${id}, but no entry tells of it: its answer would bring in ` +
        "what nobody here asked for.");
    }
    if (hash("sha256", request) !== id) {
      return misfit("row_differs", index, `The request ${id} of entry ${index} is not the one in the ceremonies table, whose hash is another: the row was ` +
        "altered. The log is right.");
    }
    const closed = logged.closed.get(id);
    if (closed !== undefined && closedAtMs === undefined) {
      return misfit("row_differs", closed, `Entry ${closed} closed the request ${id}, but the ceremonies table has it open: the row was altered, and it ` +
        "would be answered again.");
    }
    if (closed === undefined && closedAtMs !== undefined && !late.closed.has(id)) {
      return misfit("row_differs", index, `The request ${id} of entry ${index} was neither answered nor withdrawn, but the ceremonies table has it closed: ` +
        "the row was altered.");
    }
  }
  const seen = new Set(rows.map(({ id }) => id));
  for (const [id, index] of logged.requested) {
    if (seen.has(id) || rows.length === maxCeremonies) continue;
    return misfit("entry_without_row", index, `Entry ${index} tells of the request ${id}, but the ceremonies table does not have it: its row was removed.`);
  }
  return undefined;
}

function nothingSaid(): Said {
  return { requested: new Map(), closed: new Map() };
}

/** Each is some people in a room; a CA sees a handful a year. */
const maxCeremonies = 100_000;
