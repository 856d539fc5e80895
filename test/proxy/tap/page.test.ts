import { afterEach, expect, test } from "vitest";
import type { TapRecord } from "../../../ca/contract/taps.ts";
import { startAdmin } from "../../../proxy/admin.ts";
import { countExchanges, type ExchangeEnds } from "../../../proxy/exchanges.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import type { PageServer } from "../../../proxy/pages.ts";
import { runTap } from "../../../proxy/tap/command.ts";
import { tapPage } from "../../../proxy/tap/page.ts";
import { until } from "../../support/manual-clock.ts";

const ends: ExchangeEnds = { direction: "inbound", clientId: "spiffe://east/hello", serverId: "spiffe://east/world", tls: true, protocol: "http" };
let admin: PageServer | undefined;
afterEach(() => admin?.close());

async function setUp() {
  const metrics = createMetrics();
  const exchanges = countExchanges(metrics);
  const observers = new Set<object>();
  const watched = { ...exchanges, observe(observer: Parameters<typeof exchanges.observe>[0]) {
    const leave = exchanges.observe(observer);
    observers.add(leave);
    return () => {
      observers.delete(leave);
      leave();
    };
  } };
  admin = await startAdmin({ listen: { host: "127.0.0.1", port: 0 }, unready: [], metrics, pages: {}, streams: { "/tap": tapPage(watched) } });
  return {
    url: `http://${admin.address}/tap`, address: admin.address, observers: () => observers.size,
    ask(method: string, target: string, more: Partial<ExchangeEnds> = {}) {
      const exchange = exchanges.begin(exchanges.edge({ ...ends, ...more }), method, target);
      exchanges.answered(exchange, 200);
      exchanges.ended(exchange, true);
    },
  };
}

async function lines(response: Response): Promise<readonly unknown[]> {
  return (await response.text()).trim().split("\n").map((line) => JSON.parse(line) as unknown);
}

test("live requests come as lines of JSON without query, until the limit; other methods and paths are left out", async () => {
  const { url, ask, observers } = await setUp();
  const response = await fetch(`${url}?limit=2&method=get&path=/items&direction=inbound`);
  ask("POST", "/items");
  ask("GET", "/other");
  ask("GET", "/items/1?token=hunter2", { direction: "outbound" });
  for (const id of [1, 2, 3]) ask("GET", `/items/${id}?token=hunter2`);
  const records = (await lines(response)) as TapRecord[];
  expect(records).toMatchObject([
    { direction: "inbound", method: "GET", path: "/items/1", status: 200, clientId: ends.clientId, serverId: ends.serverId, tls: true, whole: true },
    { path: "/items/2" }, { leftOut: 0 },
  ]);
  expect(JSON.stringify(records)).not.toContain("hunter2");
  await until("the reader's place is free again", () => observers() === 0);
});

test("who leaves is not told any more, and five at once are too many", async () => {
  const { url, observers } = await setUp();
  const leaving = new AbortController();
  await Promise.all([1, 2, 3, 4].map(() => fetch(url, { signal: leaving.signal })));
  expect((await fetch(url)).status).toBe(503);
  leaving.abort();
  await until("all have left", () => observers() === 0);
  const after = new AbortController();
  expect((await fetch(url, { signal: after.signal })).status).toBe(200);
  after.abort();
});

test("more than a thousand in a second are left out and counted, and a reader that takes nothing holds nobody up", async () => {
  const { url, ask } = await setUp();
  const response = await fetch(`${url}?seconds=2`);
  for (let index = 0; index < 20_000; index++) ask("GET", `/${"x".repeat(500)}`);
  const told = await lines(response);
  const { leftOut } = told.at(-1) as { readonly leftOut: number };
  expect(told.length - 1 + leftOut).toBe(20_000);
  expect(leftOut).toBeGreaterThanOrEqual(15_000);
});

test.each(["limit=0", "limit=x", "seconds=99999", "direction=up", `path=${"x".repeat(600)}`])("%s is refused", async (query) => {
  const { url } = await setUp();
  expect((await fetch(`${url}?${query}`)).status).toBe(400);
});

test("countersign-proxy tap prints them as lines for people, or as they are", async () => {
  const { address, ask, observers } = await setUp();
  for (const [flags, expected] of [
    [[], /^\d\d:\d\d:\d\d\.\d{3} in  GET \/items 200 \d+\.\dms east\/hello > east\/world tls=true\n$/],
    [["-o", "json"], /^\{"startedAt":.*\}\n\{"leftOut":0\}\n$/],
  ] as const) {
    let printed = "";
    const done = runTap(["--admin", address, "--limit", "1", ...flags], { out: (text) => void (printed += text), err: (text) => void (printed += text) });
    await until("the tap is open", () => observers() === 1);
    ask("GET", "/items?a=1");
    expect([await done, printed]).toEqual([0, expect.stringMatching(expected) as string]);
  }
});

test("countersign-proxy tap spells out what would move a terminal's cursor", async () => {
  const { address, ask, observers } = await setUp();
  for (const [flags, expected] of [[[], "GET /\\u{9b}31m\\u{202e}x 200"], [["-o", "json"], "/\\u009b31m\\u202ex"]] as const) {
    let printed = "";
    const done = runTap(["--admin", address, "--limit", "1", ...flags], { out: (text) => void (printed += text), err: () => undefined });
    await until("the tap is open", () => observers() === 1);
    ask("GET", "/\u009b31m\u202ex");
    expect([await done, printed]).toEqual([0, expect.stringContaining(expected) as string]);
  }
});

test("countersign-proxy tap says when there is no proxy", async () => {
  let printed = "";
  const output = { out: () => undefined, err: (text: string) => void (printed += text) };
  expect(await runTap(["--admin", "127.0.0.1:1"], output)).toBe(1);
  expect(printed).toContain("--admin");
  expect(await runTap(["--nonsense"], output)).toBe(2);
});
