import fc from "fast-check";
import { expect, test } from "vitest";
import { pageOfCertificates, type CertificateListing } from "../../../ca/store/certificate-pages.ts";
import type { CertificateQuery, CertificateRow } from "../../../ca/store/rows/certificates.ts";

const startMs = 1_000_000;

/** A table in memory, which remembers how many rows were looked at in one go. */
function listingOf(rows: readonly CertificateRow[]) {
  const counts = { widest: 0, looked: 0, sorted: 0, counted: 0 };
  const ofIndex = (query: CertificateQuery, index: string) => rows.filter((row) =>
    matches(row, { limit: 0, nowMs: query.nowMs, ...(index === "names" ? pick(query, "spiffeId") : { ...pick(query, "expiresBeforeMs"), ...(query.status === "valid" && { status: "valid" }) }) }));
  const listing: CertificateListing = {
    bounds: async () => rows.length === 0 ? undefined : { oldest: rows[0]!.logIndex, newest: rows.at(-1)!.logIndex },
    below: async (_query, before, count) => before - count,
    async range(query, { from, before }, limit) {
      const inRange = rows.filter(({ logIndex }) => logIndex >= from && logIndex < before);
      counts.widest = Math.max(counts.widest, inRange.length);
      counts.looked += inRange.length;
      return inRange.filter((row) => matches(row, query)).reverse().slice(0, limit);
    },
    async count(query, index, max) {
      counts.counted += 1;
      return Math.min(max, ofIndex(query, index).length);
    },
    async sorted(query, index, before, limit) {
      counts.sorted += ofIndex(query, index).length;
      return ofIndex(query, index).filter((row) => row.logIndex < before && matches(row, query)).reverse().slice(0, limit);
    },
  };
  return { listing, counts };
}

function pick(query: CertificateQuery, name: keyof CertificateQuery): Partial<CertificateQuery> {
  return query[name] === undefined ? {} : { [name]: query[name] };
}

function matches({ spiffeId: id, notAfterMs }: CertificateRow, { spiffeId, expiresBeforeMs, status, nowMs }: CertificateQuery): boolean {
  if (spiffeId !== undefined && !(spiffeId.endsWith("/*") ? id.startsWith(spiffeId.slice(0, -1)) : id === spiffeId)) return false;
  if (status === "valid" && notAfterMs < nowMs) return false;
  if (status === "expired" && notAfterMs >= nowMs) return false;
  return expiresBeforeMs === undefined || notAfterMs < expiresBeforeMs;
}

const row = (logIndex: number, id: string, notAfterMs: number) => ({ logIndex, spiffeId: `spiffe://east/${id}`, notAfterMs }) as CertificateRow;
const rowsOf = (count: number, make: (index: number) => CertificateRow) => Array.from({ length: count }, (_, index) => make(index));

test("a page has what matches, newest first, whatever the filters and wherever it is", async () => {
  const rows = rowsOf(12_000, (index) => row(index * 2, index < 1500 ? "old/x" : index % 3 === 0 ? "often/x" : `one/${index}`, startMs + (index % 700)));
  const { listing } = listingOf(rows);
  const query = fc.record({
    limit: fc.integer({ min: 1, max: 300 }), nowMs: fc.integer({ min: startMs - 1, max: startMs + 701 }),
    before: fc.integer({ min: 0, max: 25_000 }), spiffeId: fc.constantFrom("spiffe://east/old/*", "spiffe://east/often/x", "spiffe://east/one/*", "spiffe://east/none/*"),
    status: fc.constantFrom("valid", "expired"), expiresBeforeMs: fc.integer({ min: startMs, max: startMs + 700 }),
  }, { requiredKeys: ["limit", "nowMs"] });
  await fc.assert(fc.asyncProperty(query, async (one) => {
    const expected = rows.filter((each) => (one.before === undefined || each.logIndex < one.before) && matches(each, one)).reverse().slice(0, one.limit);
    expect(await pageOfCertificates(listing, one)).toEqual(expected);
  }), { numRuns: 60 });
});

test("few rows at the end of many are found by their index, after a look at a few of the newest", async () => {
  const { listing, counts } = listingOf(rowsOf(50_000, (index) => row(index, index < 10 ? "old" : "new", startMs)));
  expect(await pageOfCertificates(listing, { limit: 100, nowMs: 0, spiffeId: "spiffe://east/old", status: "valid" })).toHaveLength(10);
  expect(counts).toMatchObject({ looked: 256, sorted: 10 });
});

test("no index is counted for a page that fills as fast, nor twice for as many rows", async () => {
  const tenth = listingOf(rowsOf(50_000, (index) => row(index, index % 10 === 0 ? "tenth/x" : "other/x", startMs)));
  expect(await pageOfCertificates(tenth.listing, { limit: 100, nowMs: 0, spiffeId: "spiffe://east/tenth/*" })).toHaveLength(100);
  expect(tenth.counts.counted).toBe(0);
  const rare = listingOf(rowsOf(50_000, (index) => row(index, index % 25 === 0 ? "rare/x" : "other/x", startMs)));
  expect(await pageOfCertificates(rare.listing, { limit: 100, nowMs: 0, spiffeId: "spiffe://east/rare/*" })).toHaveLength(100);
  // After 256 rows, for 1024; the next step fills the page.
  expect(rare.counts.counted).toBe(1);
});

test("where no index helps the event loop has its turn every few thousand rows", async () => {
  const { listing, counts } = listingOf(rowsOf(50_000, (index) => row(index, "same/x", index < 10 ? startMs : startMs + 10)));
  let turns = 0;
  let running = true;
  const count = () => {
    turns += 1;
    if (running) setImmediate(count);
  };
  setImmediate(count);
  expect(await pageOfCertificates(listing, { limit: 100, nowMs: startMs + 5, status: "expired" })).toHaveLength(10);
  running = false;
  expect(counts.looked).toBe(50_000);
  expect(counts.widest).toBeLessThanOrEqual(4_096);
  expect(turns).toBeGreaterThanOrEqual(50_000 / 4_096);
});
