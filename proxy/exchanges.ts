import { performance } from "node:perf_hooks";
import type { Direction, NoTlsReason } from "./connections.ts";
import type { CounterSeries, HistogramSeries, Metrics } from "./metrics.ts";
import type { TracePlace, Tracer } from "./tracing/trace-context.ts";

/** Who asks whom, and how that is secured. */
export interface ExchangeEnds {
  readonly direction: Direction;
  /** SPIFFE ID; empty where nobody proved one. */
  readonly clientId: string;
  readonly serverId: string;
  /** True: mutual TLS, both sides verified. */
  readonly tls: boolean;
  /** Why not; `refused`: there was no connection to secure, as the request went nowhere. */
  readonly noTlsReason?: NoTlsReason | "refused";
  readonly protocol: "http" | "http2";
}

/** What is counted of the requests between two ends: made once, so that a request costs a few additions. */
export interface ExchangeEdge {
  readonly ends: ExchangeEnds;
  readonly requests: CounterSeries;
  /** By the first digit of the status; made when there is one. */
  readonly responses: (CounterSeries | undefined)[];
  readonly latencyMs: HistogramSeries;
}

/** One request and what became of it, from its head to the end of its response. */
export interface Exchange {
  readonly edge: ExchangeEdge;
  /** Milliseconds since the process began, a fraction among them. */
  readonly startedMs: number;
  readonly method: string;
  /** As it goes on: with its query, without scheme and host. */
  readonly target: string;
  /** 0 until the response has begun. */
  status: number;
  /** Undefined where requests are not traced. */
  readonly trace: TracePlace | undefined;
}

/** What an observer is told of an exchange that has ended. Nothing of a body, a header or a query. */
export interface ExchangeRecord extends ExchangeEnds {
  /** Milliseconds since the epoch, to the microsecond. */
  readonly startedAtMs: number;
  readonly method: string;
  /** Without query, and cut where it is very long. */
  readonly path: string;
  /** 0: it was broken off before there was a response. */
  readonly status: number;
  readonly latencyMs: number;
  /** False: it was broken off. */
  readonly whole: boolean;
  readonly trace?: TracePlace;
}

/** Counts requests, and tells of them whoever looks. */
export interface Exchanges {
  /** The same object for the same ends; of more ends than fit the ends are called "other". */
  edge(ends: ExchangeEnds): ExchangeEdge;
  /** A request's head has come. @param traceparents values of that field, asked for only where requests are traced */
  begin(edge: ExchangeEdge, method: string, target: string, traceparents?: () => readonly string[]): Exchange;
  /** The head of its response is on its way, ours included. */
  answered(exchange: Exchange, status: number): void;
  /** A response to what could not be read as a request. */
  rejected(edge: ExchangeEdge, status: number): void;
  /** @param whole the response has been passed on to its end */
  ended(exchange: Exchange, whole: boolean): void;
  /** Tells of each exchange when it ends. @returns ends that */
  observe(observer: (record: ExchangeRecord) => void): () => void;
}

/** Makes the one counter of HTTP requests; names, labels and buckets are those of Linkerd's boards. */
export function countExchanges(metrics: Metrics, tracer?: Tracer): Exchanges {
  const requests = metrics.counter("request_total", "HTTP requests.", labelNames);
  const responses = metrics.counter("response_total", "HTTP responses, ours included.", [...labelNames, "status_class"]);
  const latency = metrics.histogram("response_latency_ms", "From a request's head to the end of its response.", latencyBucketsMs, labelNames);
  const edges = new Map<string, ExchangeEdge>();
  const observers = new Set<(record: ExchangeRecord) => void>();

  function makeEdge(ends: ExchangeEnds): ExchangeEdge {
    const labels = labelsOf(ends);
    return { ends, requests: requests.of(labels), responses: [], latencyMs: latency.of(labels) };
  }

  function count({ ends, responses: known }: ExchangeEdge, status: number): void {
    const first = Math.floor(status / 100);
    const series = known[first] ??= responses.of({ ...labelsOf(ends), status_class: `${first}xx` });
    series.inc();
  }

  return {
    edge(ends) {
      const { direction, clientId, serverId, tls, noTlsReason, protocol } = ends;
      const key = `${direction} ${clientId} ${serverId} ${tls} ${noTlsReason} ${protocol}`;
      const known = edges.get(key);
      if (known !== undefined) return known;
      const full = edges.size >= maxEdges;
      if (full && clientId !== "other") return this.edge({ ...ends, clientId: "other", serverId: "other" });
      const made = makeEdge(ends);
      edges.set(key, made);
      return made;
    },
    begin(edge, method, target, traceparents) {
      edge.requests.inc();
      const trace = traceparents && tracer?.(traceparents());
      return { edge, startedMs: performance.now(), method, target, status: 0, trace };
    },
    answered(exchange, status) {
      exchange.status = status;
      count(exchange.edge, status);
    },
    rejected: count,
    ended(exchange, whole) {
      const latencyMs = performance.now() - exchange.startedMs;
      exchange.edge.latencyMs.observe(latencyMs);
      if (observers.size === 0) return;
      const record = recordOf(exchange, latencyMs, whole);
      for (const observer of observers) observer(record);
    },
    observe(observer) {
      observers.add(observer);
      return () => void observers.delete(observer);
    },
  };
}

function recordOf({ edge, startedMs, method, target, status, trace }: Exchange, latencyMs: number, whole: boolean): ExchangeRecord {
  return {
    ...edge.ends, startedAtMs: Math.round((performance.timeOrigin + startedMs) * 1000) / 1000, method: method.slice(0, maxMethodLength),
    path: target.split(/[?#]/, 1)[0]!.slice(0, maxPathLength), status, latencyMs: Math.round(latencyMs * 1000) / 1000, whole, ...(trace !== undefined && { trace }),
  };
}

function labelsOf({ direction, tls, clientId, serverId, noTlsReason, protocol }: ExchangeEnds): Readonly<Record<string, string>> {
  return { direction, tls: String(tls), client_id: clientId, server_id: serverId, no_tls_reason: noTlsReason ?? "", protocol };
}

const labelNames = ["direction", "tls", "client_id", "server_id", "no_tls_reason", "protocol"];
const latencyBucketsMs = [1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 100, 200, 300, 400, 500, 1000, 2000, 3000, 4000, 5000, 10_000, 20_000, 30_000, 40_000, 50_000];
/** Peers choose how many they are; each is some 30 lines of `/metrics` and 2 KiB here. */
const maxEdges = 500;
const maxPathLength = 512;
const maxMethodLength = 32;
