import { setImmediate } from "node:timers/promises";
import type { CertificateQuery, CertificateRow } from "./rows/certificates.ts";

/**
 * What a database does for a listing. A row's position is its log index; in a listing of the revoked it is the sequence of its
 * revocation.
 */
export interface CertificateListing {
  /** The lowest and the highest position; undefined when there is no row. */
  bounds(query: CertificateQuery): Promise<PositionBounds | undefined>;
  /** The position from which on there are at most so many rows below `before`; undefined when there are fewer. */
  below(query: CertificateQuery, before: number, rows: number): Promise<number | undefined>;
  /** Rows that match at [from, before), newest first: looks at each row there. */
  range(query: CertificateQuery, range: { readonly from: number; readonly before: number }, limit: number): Promise<readonly CertificateRow[]>;
  /** How many rows an index leads to, counted up to `max`. */
  count(query: CertificateQuery, index: CertificateIndex, max: number): Promise<number>;
  /** Rows that match below `before`, newest first: looks at all that the index leads to. */
  sorted(query: CertificateQuery, index: CertificateIndex, before: number, limit: number): Promise<readonly CertificateRow[]>;
}

/** What leads to rows other than by their position. */
export type CertificateIndex = "names" | "not-after";

export interface PositionBounds {
  readonly oldest: number;
  readonly newest: number;
}

/**
 * One page of certificates, newest first. Most pages are full after a few of the newest rows; otherwise rows are gone through in
 * steps between which others get their turn, up to where an index leads to no more rows than were looked at already: then those are
 * sorted. So no query, whatever its filters, costs much more than the better of both ways, or stands in the way of issuing.
 */
export async function pageOfCertificates(listing: CertificateListing, query: CertificateQuery): Promise<readonly CertificateRow[]> {
  const { limit } = query;
  if (isInOrder(query)) return listing.range(query, { from: Number.MIN_SAFE_INTEGER, before: query.before ?? Number.MAX_SAFE_INTEGER }, limit);
  const bounds = await listing.bounds(query);
  if (bounds === undefined) return [];
  const rows: CertificateRow[] = [];
  let before = Math.min(query.before ?? Number.MAX_SAFE_INTEGER, bounds.newest + 1);
  let looked = 0;
  let counted = 0;
  for (let stepRows = firstStepRows; before > bounds.oldest; stepRows = nextStepsRows) {
    const from = await listing.below(query, before, stepRows) ?? bounds.oldest;
    rows.push(...await listing.range(query, { from, before }, limit - rows.length));
    if (rows.length >= limit) break;
    before = from;
    looked += stepRows;
    const most = Math.max(looked, fewRows);
    // If the rest of the page lies as dense as what was found, it is had before so many rows of an index are counted.
    const nearlyFull = (limit - rows.length) * looked <= rows.length * most;
    if (most > counted && looked <= maxSortedRows && !nearlyFull) {
      const index = await narrowIndex(listing, query, most);
      if (index !== undefined) return [...rows, ...await listing.sorted(query, index, before, limit - rows.length)];
      counted = most;
    }
    await setImmediate();
  }
  return rows;
}

/** Whether no row that is read in the order of an index is left out. */
function isInOrder({ spiffeId, within, status, expiresBeforeMs }: CertificateQuery): boolean {
  return within === undefined && status === undefined && expiresBeforeMs === undefined && spiffeId?.endsWith("/*") !== true;
}

/** An index that leads to so many rows at most. */
async function narrowIndex(listing: CertificateListing, query: CertificateQuery, most: number): Promise<CertificateIndex | undefined> {
  const { spiffeId, within, status, expiresBeforeMs } = query;
  const indexes: readonly (readonly [CertificateIndex, boolean])[] = [
    ["names", spiffeId !== undefined || within !== undefined],
    ["not-after", status === "valid" || expiresBeforeMs !== undefined],
  ];
  for (const [index, isAsked] of indexes) if (isAsked && await listing.count(query, index, most + 1) <= most) return index;
  return undefined;
}

/** Some tenths of a millisecond on SQLite. */
const firstStepRows = 256;
/** SQLite looks at a row in some 0.25 us, while the event loop waits; a step ends where its page is full. */
const nextStepsRows = 4_096;
/** So few that they are sorted at once. */
const fewRows = 1_024;
/** Some milliseconds; with a status, for which each row is looked up, some tens of them. */
const maxSortedRows = 8_192;
