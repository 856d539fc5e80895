import { Agent as HttpAgent, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import type { ExchangeRecord, Exchanges } from "../exchanges.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { encodeSpans } from "./otlp.ts";
import type { TracePlace } from "./trace-context.ts";

export interface SpanExporterDeps {
  readonly exchanges: Exchanges;
  /** OTLP/HTTP base, e.g. `http://127.0.0.1:4318`. */
  readonly endpoint: URL;
  /** Our own SPIFFE ID; empty while there is none. */
  readonly serviceName: () => string;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** A running exporter. */
export interface SpanExporter {
  /** Ends it; resolves when what was waiting is sent or has failed, after one request at most. */
  stop(): Promise<void>;
}

/**
 * Sends sampled exchanges to an OpenTelemetry collector, a batch at a time and beside the traffic. What does not fit the queue, or is
 * not taken, is dropped and counted: it is not tried again.
 */
export function startSpanExporter({ exchanges, endpoint, serviceName, metrics, log }: SpanExporterDeps): SpanExporter {
  const spans = metrics.counter("trace_spans_total", "Spans of sampled requests: sent to the collector, dropped as the queue was full, or failed.", ["result"]);
  const [sent, dropped, failed] = ["sent", "dropped", "failed"].map((result) => spans.of({ result })) as [Series, Series, Series];
  const post = poster(endpoint);
  let waiting: Traced[] = [];
  let sending: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let failing = false;
  let stopped = false;

  const leave = exchanges.observe((record) => {
    if (!isTraced(record) || !record.trace.isSampled) return;
    if (waiting.length >= maxWaiting) return dropped.inc();
    waiting.push(record);
    if (waiting.length >= maxBatch) void flush();
    else timer ??= setTimeout(() => void flush(), gatherMs).unref();
  });

  function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    return sending ??= sendAll().finally(() => (sending = undefined));
  }

  async function sendAll(): Promise<void> {
    do {
      const batch = waiting.slice(0, maxBatch);
      waiting = waiting.slice(maxBatch);
      if (batch.length === 0) return;
      try {
        await post(encodeSpans(batch, serviceName()));
        sent.inc(batch.length);
        failing = false;
      } catch (error) {
        failed.inc(batch.length);
        if (!failing) log.warn({ endpoint: endpoint.origin, error: (error as Error).message }, "spans cannot be sent; they are dropped until they can");
        failing = true;
      }
    } while (!stopped);
  }

  return {
    async stop() {
      stopped = true;
      leave();
      await flush();
      if (!failing) await flush();
      post.close();
    },
  };
}

type Traced = ExchangeRecord & { readonly trace: TracePlace };
type Series = { inc(by?: number): void };

function isTraced(record: ExchangeRecord): record is Traced {
  return record.trace !== undefined;
}

/** Posts JSON to the collector over one connection that is kept. */
function poster(endpoint: URL): ((body: string) => Promise<void>) & { close(): void } {
  const url = new URL(`${endpoint.pathname.replace(/\/$/, "")}/v1/traces`, endpoint);
  const isTls = url.protocol === "https:";
  const agent = new (isTls ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: 1 });
  const post = (body: string): Promise<void> => new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const asked = (isTls ? requestHttps : requestHttp)(url, { method: "POST", agent, headers, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
      response.on("error", reject).on("end", () => {
        const { statusCode = 0 } = response;
        if (statusCode >= 200 && statusCode < 300) resolve();
        else reject(new Error(`the collector answers ${statusCode}`));
      }).resume();
    });
    asked.on("error", reject).end(body);
  });
  return Object.assign(post, { close: () => agent.destroy() });
}

/** Some 600 bytes each. */
const maxWaiting = 4096;
const maxBatch = 512;
const gatherMs = 1000;
const timeoutMs = 10_000;
