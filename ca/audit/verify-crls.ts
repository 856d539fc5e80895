import { hash } from "node:crypto";
import type { CrlRow } from "../store/rows/crls.ts";
import { misfit, type Misfit } from "./misfit.ts";
import { entriesFrom, type ReadEntry } from "./verify-tables.ts";
import type { LogReader } from "./verify.ts";

/** What the log says last of a list. */
interface Said {
  readonly authorityId: string;
  readonly list: string;
  readonly index: number;
  readonly number: number;
  readonly fingerprint: string;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
}

/** Holds the newest CRL of each list against the log: an older one put back would be served as if nothing had been revoked since. */
export function crlVerifier(source: LogReader) {
  const logged = new Map<string, Said>();
  return {
    page(entries: readonly ReadEntry[]): void {
      for (const entry of entries) take(entry, logged);
    },
    /** After the last page: reads the rows, then what the CA has logged meanwhile, so that no row is newer than its entry. */
    async settle(size: number): Promise<Misfit | undefined> {
      const rows = await source.crls();
      const late = new Map<string, Said>();
      for await (const entry of entriesFrom(source, size)) take(entry, late);
      return compare(rows, logged, late);
    },
  };
}

function take({ index, event }: ReadEntry, into: Map<string, Said>): void {
  if (event?.type !== "crl.signed") return;
  const { authorityId, list, number, fingerprint, thisUpdate, nextUpdate } = event;
  into.set(keyOf(event), { authorityId, list, index, number, fingerprint, thisUpdateMs: Date.parse(thisUpdate), nextUpdateMs: Date.parse(nextUpdate) });
}

function compare(rows: readonly CrlRow[], logged: ReadonlyMap<string, Said>, late: ReadonlyMap<string, Said>): Misfit | undefined {
  const seen = new Set(rows.map(keyOf));
  for (const row of rows) {
    // Signed anew while we look: the row is of before or after, and the next verification tells.
    if (late.has(keyOf(row))) continue;
    const said = logged.get(keyOf(row));
    if (said === undefined) {
      return misfit("row_without_entry", undefined, `The crls table has ${row.list} of authority ${row.authorityId}, but no entry tells of its ` +
        "signature: somebody publishes a CRL that the CA did not sign.");
    }
    const difference = differenceOf(said, row);
    if (difference !== undefined) {
      return misfit("row_differs", said.index, `The crls table disagrees with entry ${said.index} about the ${difference} of ${row.list} of ` +
        `authority ${row.authorityId}: the row was altered, or an older CRL was put in its place. The log is right.`);
    }
  }
  for (const [key, { authorityId, list, index }] of logged) {
    if (seen.has(key)) continue;
    return misfit("entry_without_row", index, `Entry ${index} tells of ${list} of authority ${authorityId}, but the crls table does not have it: ` +
      "its row was removed.");
  }
  return undefined;
}

function differenceOf(said: Said, row: CrlRow): string | undefined {
  if (said.number !== row.number) return "number";
  if (said.fingerprint !== row.fingerprint || (row.crl !== undefined && hash("sha256", row.crl) !== said.fingerprint)) return "fingerprint";
  return said.thisUpdateMs !== row.thisUpdateMs || said.nextUpdateMs !== row.nextUpdateMs ? "times" : undefined;
}

function keyOf({ authorityId, list }: Pick<CrlRow, "authorityId" | "list">): string {
  return `${authorityId}/${list}`;
}
