import { mkdtempSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { appendTo, startAccessLog } from "../../proxy/access-log.ts";
import { countExchanges, type Exchanges } from "../../proxy/exchanges.ts";
import { createMetrics } from "../../proxy/metrics.ts";
import { recordedLog } from "../support/recorded-log.ts";

function ask(exchanges: Exchanges, target: string): void {
  const edge = exchanges.edge({ direction: "outbound", clientId: "spiffe://east/hello", serverId: "spiffe://east/world", tls: true, protocol: "http" });
  const exchange = exchanges.begin(edge, "GET", target);
  exchanges.answered(exchange, 200);
  exchanges.ended(exchange, true);
}

function setUp(append: (lines: string) => Promise<void>) {
  const metrics = createMetrics();
  const exchanges = countExchanges(metrics);
  const log = recordedLog();
  return { metrics, exchanges, log, accessLog: startAccessLog({ exchanges, append, metrics, log }) };
}

test("each request is a line of JSON in a file that only we read, and a file that was moved away is begun anew", async () => {
  const folder = mkdtempSync(join(tmpdir(), "countersign-access-"));
  const path = join(folder, "access.log");
  const first = setUp(appendTo(path));
  ask(first.exchanges, "/a?token=hunter2");
  await first.accessLog.stop();
  expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({
    direction: "outbound", method: "GET", path: "/a", status: 200, clientId: "spiffe://east/hello", serverId: "spiffe://east/world", tls: true,
  });
  expect(readFileSync(path, "utf8")).not.toContain("hunter2");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  renameSync(path, `${path}.1`);
  const second = setUp(appendTo(path));
  ask(second.exchanges, "/b");
  ask(second.exchanges, "/c");
  await second.accessLog.stop();
  ask(second.exchanges, "/after");
  expect(readFileSync(path, "utf8").trim().split("\n").map((line) => (JSON.parse(line) as { path: string }).path)).toEqual(["/b", "/c"]);
  rmSync(folder, { recursive: true });
});

test("what a disk that hangs does not take is left out and counted; memory is bounded", async () => {
  let release = (): void => undefined;
  let written = 0;
  const { metrics, exchanges, accessLog } = setUp(async (lines) => {
    await new Promise<void>((resolve) => (release = resolve));
    written += lines.split("\n").length - 1;
    release = () => undefined;
  });
  for (let index = 0; index < 40_000; index++) ask(exchanges, `/${"x".repeat(300)}`);
  const dropped = Number(/^access_log_dropped_total (\d+)$/m.exec(metrics.text())?.[1]);
  expect(dropped).toBeGreaterThan(20_000);
  const done = accessLog.stop();
  for (let turns = 0; written + dropped < 40_000 && turns < 1000; turns++) {
    release();
    await new Promise(setImmediate);
  }
  await done;
  expect(written + dropped).toBe(40_000);
});

test("a file that cannot be written is said once", async () => {
  const { metrics, exchanges, log, accessLog } = setUp(async () => { throw new Error("no space left on device"); });
  ask(exchanges, "/a");
  await accessLog.stop();
  expect(metrics.text()).toMatch(/^access_log_dropped_total 1$/m);
  expect(log.text()).toContain("no space left");
});
