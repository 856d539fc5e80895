import { expect, test } from "vitest";
import { countExchanges, type ExchangeEnds, type ExchangeRecord } from "../../proxy/exchanges.ts";
import { createMetrics } from "../../proxy/metrics.ts";
import { metricValue } from "../support/data-path.ts";

const ends: ExchangeEnds = { direction: "inbound", clientId: "spiffe://east/hello", serverId: "spiffe://east/world", tls: true, protocol: "http" };

function counted() {
  const metrics = createMetrics();
  return { metrics, exchanges: countExchanges(metrics) };
}

test("a request is counted when its head has come, its response by class, its latency when it has ended", () => {
  const { metrics, exchanges } = counted();
  const exchange = exchanges.begin(exchanges.edge(ends), "GET", "/items?secret=1");
  const labels = 'direction="inbound",tls="true",client_id="spiffe://east/hello",server_id="spiffe://east/world",no_tls_reason="",protocol="http"';
  expect(metrics.text()).toContain(`request_total{${labels}} 1\n`);
  expect(metricValue(metrics, "response_latency_ms_count")).toBe(0);
  exchanges.answered(exchange, 404);
  exchanges.ended(exchange, true);
  expect(metrics.text()).toContain(`response_total{${labels},status_class="4xx"} 1\n`);
  expect(metricValue(metrics, "response_latency_ms_count")).toBe(1);
  expect(metricValue(metrics, "response_latency_ms_bucket", 'le="+Inf"')).toBe(1);
});

test("an observer is told of the exchange without its query, and of nothing any more once it has left", () => {
  const { exchanges } = counted();
  const told: ExchangeRecord[] = [];
  const leave = exchanges.observe((record) => void told.push(record));
  const exchange = exchanges.begin(exchanges.edge({ ...ends, tls: false, noTlsReason: "plain_text" }), "POST", "/items?token=hunter2#x");
  exchanges.answered(exchange, 201);
  exchanges.ended(exchange, true);
  leave();
  exchanges.ended(exchanges.begin(exchanges.edge(ends), "GET", "/"), false);
  expect(told).toEqual([{
    direction: "inbound", clientId: "spiffe://east/hello", serverId: "spiffe://east/world", tls: false, noTlsReason: "plain_text", protocol: "http",
    startedAtMs: expect.any(Number) as number, method: "POST", path: "/items", status: 201, latencyMs: expect.any(Number) as number, whole: true,
  }]);
  expect(Math.abs(Date.now() - told[0]!.startedAtMs)).toBeLessThan(60_000);
});

test("peers that invent identities cannot fill the memory: beyond a bound their requests are counted as other", () => {
  const { metrics, exchanges } = counted();
  for (let index = 0; index < 2000; index++) exchanges.begin(exchanges.edge({ ...ends, clientId: `spiffe://east/${index}` }), "GET", "/");
  const lines = metrics.text().split("\n").filter((line) => line.startsWith("request_total{"));
  expect(lines.length).toBeLessThan(510);
  expect(metricValue(metrics, "request_total", 'client_id="other",server_id="other"')).toBe(1500);
});

test("a path that is very long is cut before anybody is told", () => {
  const { exchanges } = counted();
  let path = "";
  exchanges.observe((record) => (path = record.path));
  exchanges.ended(exchanges.begin(exchanges.edge(ends), "GET", `/${"x".repeat(8000)}`), true);
  expect(path).toHaveLength(512);
});
