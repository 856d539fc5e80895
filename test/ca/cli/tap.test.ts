import { describe, expect, test } from "vitest";
import { ApiError, type Api } from "../../../ca/cli/api.ts";
import { longestTap, tapOn } from "../../../ca/cli/tapping.ts";
import { tapLine, type TapEvent, type TapRecord } from "../../../ca/contract/taps.ts";
import { countersign } from "../../support/command-line.ts";

const record: TapRecord = {
  startedAt: "2026-11-21T05:00:00.123Z", direction: "inbound", clientId: "spiffe://east/ns/shop/sa/web", serverId: "spiffe://east/ns/shop/sa/cart", tls: true, protocol: "http",
  method: "GET", path: "/items", status: 200, latencyMs: 2, whole: true,
};
const long = "x".repeat(60);

describe("a tapped request is one line of 80 columns", () => {
  test.for<[string, Partial<TapRecord>, string]>([
    ["with whole names where they fit", { clientId: "spiffe://east/web", serverId: "spiffe://east/cart" }, "05:00:00.123 in  GET /items 200 2.0ms east/web > east/cart tls=true"],
    ["with the ends of names where they do not", {}, "05:00:00.123 in  GET /items 200 2.0ms …shop/sa/web > …hop/sa/cart tls=true"],
    ["with the beginning of a path", { path: `/${long}${long}` }, "05:00:00.123 in  GET /xxxxxxxxxxxxxxx… 200 2.0ms …p/sa/web > …/sa/cart tls=true"],
    ["and nobody known is a dash", { clientId: "", tls: false, noTlsReason: "plain_text", status: 0 }, "05:00:00.123 in  GET /items - 2.0ms - > …ns/shop/sa/cart tls=false (plain text)"],
  ])("%s", ([, more, expected]) => {
    const line = tapLine({ ...record, ...more });
    expect(line).toBe(expected);
    expect(line.length).toBeLessThan(80);
  });

  test("also where everything is at its longest, and --wide shows all of it", () => {
    const worst = { ...record, clientId: `spiffe://east/${long}`, serverId: `spiffe://east/${long}`, method: "OPTIONS", path: `/${long}`, latencyMs: 600_000, tls: false, noTlsReason: "plain_text" };
    expect(tapLine(worst).length).toBeLessThan(80);
    expect(tapLine(worst, Infinity)).toContain(`/${long} 200 600000.0ms east/${long} > east/${long} tls=false (plain text)`);
  });
});

/** A CA whose taps end as they are told to, one after the other; when there are none left it is the command that is to end. */
function caWith(ends: readonly ((onEvent: (event: string, data: unknown) => void) => void)[]) {
  const ending = new AbortController();
  const requests: unknown[] = [];
  const left = [...ends];
  const ca = {
    async follow(_path: string, request: unknown, onEvent: (event: string, data: unknown) => void) {
      requests.push(request);
      const next = left.shift();
      if (left.length === 0) ending.abort();
      next?.(onEvent);
    },
  } as unknown as Api;
  return { ca, ending: ending.signal, requests };
}

test("who watches has one tap after the other, also when one was cut off or the CA was away", async () => {
  const away = new ApiError("nothing listens there");
  const heard: TapEvent[] = [];
  const missed: ApiError[] = [];
  const { ca, ending, requests } = caWith([
    (onEvent) => onEvent("end", { reason: "limit" }),
    () => {
      throw away;
    },
    (onEvent) => onEvent("end", { reason: "time" }),
  ]);
  const request = { workload: "spiffe://east/web", ...longestTap };
  await tapOn(ca, { request, ending, onEvent: (told) => void heard.push(told), onAway: (error) => void missed.push(error) });
  expect([requests, heard.map(({ data }) => data), missed]).toEqual([[request, request, request], [{ reason: "limit" }, { reason: "time" }], [away]]);
});

test.for([["tap spiffe://east/a --watch --seconds 5", "neither --seconds nor --limit"], ["top spiffe://east/a --watch --for 5s", "neither --for nor --limit"], ["tap", "the workload is missing"]] as const)("%s ends with 2", async ([line, expected]) => {
  const { exitCode, stderr } = await countersign(line.split(" "), { COUNTERSIGN_DATA_DIR: "/nonexistent" });
  expect([exitCode, stderr.replaceAll("\n", " ")]).toEqual([2, expect.stringContaining(expected) as string]);
});
