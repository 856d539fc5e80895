import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { reportReading } from "../../../ca/reports/reading.ts";
import type { ReportQuery, ReportRow } from "../../../ca/store/rows/reports.ts";

const rowOf = (index: number, more: object = {}): ReportRow => {
  const name = String(index).padStart(6, "0");
  const body = { spiffeId: `spiffe://east/w${name}`, edges: [], proxy: { notAfter: `2026-01-0${1 + (index % 9)}T00:00:00.000Z` }, ...more };
  return { kind: "edges", name, part: "", body: JSON.stringify(body), reportedAtMs: 0, expiresAtMs: 1 };
};

/** A store of reports, and how often it was asked for a page. */
function storeOf(rows: readonly ReportRow[]) {
  const asked: ReportQuery[] = [];
  return {
    asked,
    async reports(query: ReportQuery): Promise<readonly ReportRow[]> {
      asked.push(query);
      return rows.filter(({ name }) => name > (query.after?.name ?? "")).slice(0, query.limit);
    },
  };
}

test("all pages are read, and those come first whose certificates end first", async () => {
  const { proxies, bySerialNumber, proxiesLeftOut } = await reportReading({ store: storeOf(Array.from({ length: 620 }, (_, index) => rowOf(index))), now: () => new Date(0) })();
  expect([proxies.length, bySerialNumber.size, proxiesLeftOut]).toEqual([620, 620, false]);
  expect(proxies.map(({ notAfter }) => notAfter)).toEqual(proxies.map(({ notAfter }) => notAfter).sort());
});

test("what a proxy told by a certificate that it has renewed since counts no more, wherever the newer one is", async () => {
  const { proxies } = await reportReading({ store: storeOf([rowOf(1, { renewedFrom: "000900" }), ...Array.from({ length: 900 }, (_, index) => rowOf(index + 2))]), now: () => new Date(0) })();
  expect([proxies.length, proxies.some(({ serialNumber }) => serialNumber === "000900")]).toEqual([900, false]);
});

test("of more than are looked at it says so, and reads no further", async () => {
  const store = storeOf(Array.from({ length: 5000 }, (_, index) => rowOf(index)));
  const { proxies, proxiesLeftOut, talksLeftOut } = await reportReading({ store, now: () => new Date(0), maxProxies: 1000 })();
  expect([proxies.length, proxiesLeftOut, talksLeftOut, store.asked.length < 20]).toEqual([1000, true, true, true]);
});

test("others have their turn while it reads", async () => {
  let turns = 0;
  let done = false;
  const reading = reportReading({ store: storeOf(Array.from({ length: 2500 }, (_, index) => rowOf(index))), now: () => new Date(0) })().finally(() => (done = true));
  while (!done) {
    await setImmediate();
    turns += 1;
  }
  expect((await reading).proxies).toHaveLength(2500);
  expect(turns).toBeGreaterThan(10);
});

describe("those who ask at once", () => {
  test("share a reading; it is made anew when it is old, and after one that failed", async () => {
    const store = storeOf([rowOf(1)]);
    let nowMs = 0;
    let fails = false;
    const read = reportReading({ store: { reports: async (query) => (fails ? Promise.reject(new Error("away")) : store.reports(query)) }, now: () => new Date(nowMs) });
    await Promise.all([read(), read(), read()]);
    expect(store.asked).toHaveLength(1);
    nowMs = 10_000;
    fails = true;
    await expect(read()).rejects.toThrow("away");
    fails = false;
    expect((await read()).proxies).toHaveLength(1);
  });
});
