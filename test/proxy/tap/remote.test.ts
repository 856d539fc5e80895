import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import type { Report, ReportRequest } from "../../../ca/contract/reports.ts";
import { tapTarget, type TapNotice } from "../../../ca/contract/taps.ts";
import { CaError } from "../../../proxy/ca-error.ts";
import { countExchanges, type ExchangeEnds } from "../../../proxy/exchanges.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { remoteTaps } from "../../../proxy/tap/remote.ts";
import { eastIdentity } from "../../support/data-path.ts";
import { manualClock } from "../../support/manual-clock.ts";
import { recordedLog } from "../../support/recorded-log.ts";

const identity = eastIdentity("world");
const ends: ExchangeEnds = { direction: "inbound", clientId: "spiffe://east/hello", serverId: "spiffe://east/world", tls: true, protocol: "http" };
const id = "0123456789abcdef".repeat(2);

function noticeFor(workload: string, more: Partial<TapNotice> = {}): TapNotice {
  const { tap = id } = more;
  return { tap, target: createHash("sha256").update(tapTarget(tap, workload)).digest("hex"), seconds: 60, limit: 1000, ...more };
}

function setUp() {
  const clock = manualClock(Date.UTC(2026, 0, 1));
  const exchanges = countExchanges(createMetrics());
  const sent: Extract<Report, { type: "tap" }>[] = [];
  const ca: { error: Error | undefined } = { error: undefined };
  const taps = remoteTaps({
    clock, exchanges, log: recordedLog(), trustDomain: "east", identity: () => identity,
    client: {
      async report({ report }: ReportRequest) {
        if (ca.error !== undefined) throw ca.error;
        sent.push(JSON.parse(report) as (typeof sent)[number]);
      },
    },
  });
  return {
    clock, sent, ca, taps,
    ask(target: string, more: Partial<ExchangeEnds> = {}) {
      const exchange = exchanges.begin(exchanges.edge({ ...ends, ...more }), "GET", target);
      exchanges.answered(exchange, 200);
      exchanges.ended(exchange, true);
    },
    paths: () => sent.flatMap(({ records }) => records.map(({ path }) => path)),
  };
}

test("a tap for this workload has its requests reported until its time is over; one for another workload nothing", async () => {
  const { clock, taps, ask, paths, sent } = setUp();
  taps.heardOf(noticeFor("spiffe://east/other"));
  ask("/before");
  await clock.advance(2000);
  expect(sent).toEqual([]);
  taps.heardOf(noticeFor("spiffe://east/world"));
  ask("/1?secret=hunter2");
  ask("/2", { serverId: "spiffe://east/before-it-was-renamed" });
  await clock.advance(1000);
  taps.heardOf(noticeFor("spiffe://east/world"));
  ask("/3");
  await clock.advance(1000);
  expect(paths()).toEqual(["/1", "/3"]);
  expect(sent[0]).toMatchObject({ type: "tap", tap: id, leftOut: 1 });
  await clock.advance(60_000);
  ask("/late");
  taps.heardOf(noticeFor("spiffe://east/world"));
  ask("/again");
  await clock.advance(60_000);
  expect(paths()).toEqual(["/1", "/3"]);
});

test("filter, limit and rate hold, and what is left out is counted", async () => {
  const { clock, taps, ask, sent, paths } = setUp();
  taps.heardOf(noticeFor("spiffe://east/world", { path: "/items", limit: 150 }));
  for (let index = 0; index < 1000; index++) ask(`/items/${index}`);
  ask("/other");
  await clock.advance(2000);
  expect(paths()).toHaveLength(150);
  expect(sent.every(({ records }) => JSON.stringify(records).length < 48 * 1024)).toBe(true);
});

test("no report is larger than the CA takes, whatever the paths are", async () => {
  const { clock, taps, ask, sent } = setUp();
  taps.heardOf(noticeFor("spiffe://east/world"));
  for (let index = 0; index < 500; index++) ask(`/${"x".repeat(2000)}`);
  await clock.advance(1000);
  expect(JSON.stringify(sent[0]).length).toBeLessThan(48 * 1024);
  expect((sent[0]?.leftOut ?? 0) + (sent[0]?.records.length ?? 0)).toBe(500);
});

test("it is over when the CA says so; a CA that is busy or gone costs those requests alone", async () => {
  const { clock, taps, ask, sent, ca } = setUp();
  taps.heardOf(noticeFor("spiffe://east/world"));
  ca.error = new CaError("ca_unavailable", "gone");
  ask("/lost");
  await clock.advance(1000);
  ca.error = undefined;
  ask("/shown");
  await clock.advance(1000);
  expect(sent.map(({ records, leftOut }) => [records.map(({ path }) => path), leftOut])).toEqual([[["/shown"], 1]]);
  ca.error = new CaError("ca_refused", "no such tap", { problemCode: "not_found" });
  ask("/last");
  await clock.advance(1000);
  ca.error = undefined;
  ask("/nobody");
  await clock.advance(10_000);
  expect(sent.flatMap(({ records }) => records.map(({ path }) => path))).toEqual(["/shown"]);
});

test("one that nobody looks at any more gives its place to the next, although nobody asks for anything", async () => {
  const { clock, taps, ask, ca, paths } = setUp();
  for (const digit of ["1", "2"]) taps.heardOf(noticeFor("spiffe://east/world", { tap: digit.repeat(32), seconds: 600 }));
  await clock.advance(1000);
  ca.error = new CaError("ca_refused", "no such tap", { problemCode: "not_found" });
  taps.heardOf(noticeFor("spiffe://east/world", { tap: "3".repeat(32) }));
  await clock.advance(500);
  ca.error = undefined;
  ask("/seen");
  await clock.advance(1000);
  expect(paths()).toEqual(["/seen"]);
});

test("those whose time was over while they waited keep no place from the one behind them", async () => {
  const { clock, taps, ask, sent } = setUp();
  for (const [digit, seconds] of [["1", 60], ["2", 60], ["3", 5], ["4", 5], ["5", 600]] as const) taps.heardOf(noticeFor("spiffe://east/world", { tap: digit.repeat(32), seconds }));
  await clock.advance(62_000);
  ask("/seen");
  await clock.advance(1000);
  expect(sent.filter(({ records }) => records.length > 0).map(({ tap }) => tap[0])).toEqual(["5"]);
});

test("one without requests asks now and then whether it is still looked at, and ends when it is not", async () => {
  const { clock, taps, ask, ca, sent } = setUp();
  taps.heardOf(noticeFor("spiffe://east/world"));
  await clock.advance(6000);
  expect(sent).toMatchObject([{ records: [], leftOut: 0 }]);
  ca.error = new CaError("ca_refused", "no such tap", { problemCode: "not_found" });
  await clock.advance(6000);
  ca.error = undefined;
  ask("/nobody");
  await clock.advance(6000);
  expect(sent).toHaveLength(1);
});

test("two taps at once are the most", async () => {
  const { clock, taps, ask, sent } = setUp();
  for (const digit of ["1", "2", "3"]) taps.heardOf(noticeFor("spiffe://east/world", { tap: digit.repeat(32) }));
  ask("/");
  await clock.advance(1000);
  expect(sent.map(({ tap }) => tap[0]).sort()).toEqual(["1", "2"]);
  taps.stop();
  ask("/");
  await clock.advance(10_000);
  expect(sent).toHaveLength(2);
});
