import { expect, test } from "vitest";
import { addUp, topTable, type TopRow } from "../../../ca/cli/top-rows.ts";
import type { TapRecord } from "../../../ca/contract/taps.ts";
import { tooWide } from "../../support/command-line.ts";

const record = (changes: Partial<TapRecord> = {}): TapRecord => ({
  startedAt: "2026-11-21T05:00:00.000Z", direction: "inbound", clientId: "spiffe://east/ns/shop/sa/web", serverId: "spiffe://east/ns/shop/sa/cart", tls: true, protocol: "http",
  method: "GET", path: "/items", status: 200, latencyMs: 2, whole: true, ...changes,
});

function added(...records: readonly TapRecord[]): Map<string, TopRow> {
  const rows = new Map<string, TopRow>();
  for (const one of records) addUp(rows, one);
  return rows;
}

test("requests are added up by who asks whom for what, the most frequent first", () => {
  const table = topTable(added(record(), record({ path: "/rare" }), record({ latencyMs: 10 }), record({ status: 503, latencyMs: 1 }), record({ whole: false, latencyMs: 4 })));
  expect(table.split("\n").map((line) => line.replaceAll(/ +/g, " "))).toEqual([
    "COUNT GOOD BEST WORST SRC DST REQUEST", "4 50% 1.0ms 10.0ms web cart GET /items", "1 100% 2.0ms 2.0ms web cart GET /rare", "",
  ]);
});

test("of paths without end only so many have a row; the others are counted together", () => {
  const rows = added(...Array.from({ length: 1500 }, (_, index) => record({ path: `/items/${index}` })));
  expect(rows.size).toBe(1001);
  expect(topTable(rows)).toMatch(/^ *COUNT.*\n500 .*all others\n/);
});

test("long names leave 80 columns", () => {
  const long = `spiffe://east/ns/shop/sa/${"x".repeat(60)}`;
  expect(tooWide(topTable(added(record({ clientId: long, serverId: long, latencyMs: 12345.6 }))))).toEqual([]);
});
