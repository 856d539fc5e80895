import type { ExchangeRecord } from "../exchanges.ts";
import type { TracePlace } from "./trace-context.ts";

/**
 * Encodes exchanges as an OpenTelemetry export request. Nothing of a header, a body or a query is in it.
 * @param serviceName  of the resource: our own SPIFFE ID
 * @source OTLP 1.x, JSON encoding (IDs in hex, enums as numbers, 64 bit integers as text); semantic conventions for HTTP spans
 */
export function encodeSpans(records: readonly (ExchangeRecord & { readonly trace: TracePlace })[], serviceName: string): string {
  return JSON.stringify({
    resourceSpans: [{
      resource: { attributes: [text("service.name", serviceName)] },
      scopeSpans: [{ scope: { name: "countersign-proxy" }, spans: records.map(spanOf) }],
    }],
  });
}

function spanOf({ trace, direction, clientId, serverId, tls, noTlsReason, protocol, method, path, status, startedAtMs, latencyMs, whole }: ExchangeRecord & { readonly trace: TracePlace }): object {
  const startNs = BigInt(Math.round(startedAtMs * 1000)) * 1000n;
  const isError = status === 0 || status >= 500 || !whole;
  return {
    traceId: trace.traceId, spanId: trace.spanId, ...(trace.parentSpanId !== undefined && { parentSpanId: trace.parentSpanId }),
    name: method, kind: direction === "inbound" ? kindServer : kindClient,
    startTimeUnixNano: String(startNs), endTimeUnixNano: String(startNs + BigInt(Math.round(latencyMs * 1e6))),
    attributes: [
      text("http.request.method", method), text("url.path", path), text("network.protocol.name", "http"), text("network.protocol.version", protocol === "http2" ? "2" : "1.1"),
      ...(status === 0 ? [] : [{ key: "http.response.status_code", value: { intValue: String(status) } }]),
      text("countersign.client_id", clientId), text("countersign.server_id", serverId), { key: "countersign.tls", value: { boolValue: tls } },
      ...(noTlsReason === undefined ? [] : [text("countersign.no_tls_reason", noTlsReason)]),
    ],
    ...(isError && { status: { code: statusError } }),
  };
}

function text(key: string, stringValue: string): object {
  return { key, value: { stringValue } };
}

const kindServer = 2;
const kindClient = 3;
const statusError = 2;
