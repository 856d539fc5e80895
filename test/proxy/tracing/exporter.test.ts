import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { afterEach, expect, test, vi } from "vitest";
import { countExchanges } from "../../../proxy/exchanges.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { startSpanExporter } from "../../../proxy/tracing/exporter.ts";
import { tracer } from "../../../proxy/tracing/trace-context.ts";
import { eastIdentity, holderOf, inboundHalf, metricValue, outboundHalf } from "../../support/data-path.ts";
import { recordedLog } from "../../support/recorded-log.ts";
import { httpApp } from "../../support/tcp.ts";

interface Span { readonly traceId: string; readonly spanId: string; readonly parentSpanId?: string; readonly kind: number; readonly name: string; readonly attributes: readonly { readonly key: string; readonly value: object }[]; readonly status?: object; readonly startTimeUnixNano: string; readonly endTimeUnixNano: string }
interface Export { readonly resourceSpans: readonly [{ readonly resource: { readonly attributes: readonly unknown[] }; readonly scopeSpans: readonly [{ readonly spans: readonly Span[] }] }] }

let ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.reverse()) await end();
  ends = [];
});

/** A collector that keeps what it gets. */
async function collector(status = 200) {
  const got: { readonly path: string; readonly type: string | undefined; readonly body: Export }[] = [];
  const server = await httpApp((asked, response) => {
    void text(asked).then((body) => {
      got.push({ path: asked.url ?? "", type: asked.headers["content-type"], body: JSON.parse(body) as Export });
      response.writeHead(status).end();
    });
  });
  ends.push(() => server.close());
  return { got, url: new URL(`http://127.0.0.1:${server.port}`), spans: () => got.flatMap(({ body }) => body.resourceSpans[0].scopeSpans[0].spans) };
}

function exporting(url: URL, traceEvery = 1) {
  const metrics = createMetrics();
  const exchanges = countExchanges(metrics, tracer(traceEvery));
  const log = recordedLog();
  return { metrics, exchanges, log, exporter: startSpanExporter({ exchanges, endpoint: url, serviceName: () => "spiffe://east/world", metrics, log }) };
}

test("a request through two proxies is one trace of two spans at the collector, and the app gets its place in it", async () => {
  const { got, url, spans } = await collector();
  const seen: (string | undefined)[] = [];
  const app = await httpApp((asked, response) => {
    seen.push(asked.headers["traceparent"] as string | undefined);
    response.statusCode = 503;
    response.end();
  });
  ends.push(() => app.close());
  const [at, from] = [exporting(url), exporting(url)];
  const inbound = await inboundHalf({ app: { host: "127.0.0.1", port: app.port }, exchanges: at.exchanges });
  const route = { host: "world", port: undefined, address: { host: "127.0.0.1", port: inbound.port }, serverId: eastIdentity("world").id };
  const outbound = await outboundHalf({ holder: holderOf(eastIdentity("hello")), routes: [route], exchanges: from.exchanges });
  ends.push(() => inbound.path.close(), () => outbound.path.close());

  const ask = async (headers: Readonly<Record<string, string>> = {}): Promise<void> => {
    const asked = request({ host: "127.0.0.1", port: outbound.port, path: "/items?token=hunter2", headers: { host: "world", ...headers }, agent: false }).end();
    const [response] = (await once(asked, "response")) as [IncomingMessage];
    await once(response.resume(), "end");
  };
  await ask({ authorization: "Bearer hunter2" });
  const given = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
  await ask({ traceparent: given });
  await ask({ traceparent: given.replace(/01$/, "00") });
  await Promise.all([at, from].map(({ exporter }) => exporter.stop()));

  expect(got[0]).toMatchObject({ path: "/v1/traces", type: "application/json" });
  expect(JSON.stringify(got)).not.toContain("hunter2");
  const [first] = spans().filter(({ parentSpanId }) => parentSpanId === undefined);
  const second = spans().find(({ traceId, kind }) => traceId === first?.traceId && kind === 2);
  expect([first?.kind, second?.parentSpanId]).toEqual([3, first?.spanId]);
  expect(seen[0]).toBe(`00-${first?.traceId}-${first?.spanId}-01`);
  expect(second).toMatchObject({ name: "GET", status: { code: 2 } });
  expect(second?.attributes).toEqual(expect.arrayContaining([
    { key: "url.path", value: { stringValue: "/items" } }, { key: "http.response.status_code", value: { intValue: "503" } },
    { key: "countersign.client_id", value: { stringValue: "spiffe://east/hello" } }, { key: "countersign.tls", value: { boolValue: true } },
  ]));
  expect(BigInt(second!.endTimeUnixNano) >= BigInt(second!.startTimeUnixNano)).toBe(true);
  // A place that it came with goes on untouched, and what it says of being sampled holds.
  expect(seen.slice(1)).toEqual([given, given.replace(/01$/, "00")]);
  expect(spans().filter(({ traceId }) => traceId === "a".repeat(32)).map(({ parentSpanId }) => parentSpanId)).toEqual(["b".repeat(16), "b".repeat(16)]);
  expect(spans()).toHaveLength(4);
  expect(metricValue(at.metrics, "trace_spans_total", 'result="sent"')).toBe(2);
});

test("a collector that refuses or is gone costs its spans alone: they are counted, and it is said once", async () => {
  for (const url of [(await collector(503)).url, new URL("http://127.0.0.1:1")]) {
    const { metrics, exchanges, exporter, log } = exporting(url);
    const edge = exchanges.edge({ direction: "inbound", clientId: "", serverId: "spiffe://east/world", tls: true, protocol: "http" });
    for (let index = 0; index < 3; index++) exchanges.ended(exchanges.begin(edge, "GET", "/", () => []), true);
    await vi.waitFor(() => expect(metricValue(metrics, "trace_spans_total", 'result="failed"')).toBe(3), { timeout: 20_000 });
    await exporter.stop();
    expect(log.text().split("spans cannot be sent")).toHaveLength(2);
  }
});

test("while a collector hangs the queue is bounded, and what does not fit is counted", async () => {
  const hanging = await httpApp(() => undefined);
  ends.push(() => hanging.close());
  const { metrics, exchanges } = exporting(new URL(`http://127.0.0.1:${hanging.port}`));
  const edge = exchanges.edge({ direction: "inbound", clientId: "", serverId: "spiffe://east/world", tls: true, protocol: "http" });
  for (let index = 0; index < 10_000; index++) exchanges.ended(exchanges.begin(edge, "GET", "/", () => []), true);
  const dropped = metricValue(metrics, "trace_spans_total", 'result="dropped"');
  expect(dropped).toBeGreaterThan(5000);
  expect(dropped).toBeLessThan(6000);
});
