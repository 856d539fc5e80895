import { mediaType } from "../contract/headers.ts";
import type { Report } from "../contract/reports.ts";
import type { TapEvent } from "../contract/taps.ts";
import { encodeFrame, heartbeatFrame } from "../feed/frame.ts";
import { Refusal } from "../refusal.ts";
import { json, noContent } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import { edgeList, proxyList, report, reportRequest, tapRequest } from "./schemas/reports.ts";
import { isInView } from "./scope.ts";
import type { CaServices } from "./services.ts";

/** What proxies report of the traffic, and what comes of it. */
export function reportOperations(services: CaServices): readonly Operation[] {
  return [
    operation({
      route: "POST /v1/reports",
      tag: "traffic",
      summary: "Report edges or tapped requests",
      description:
        "A proxy tells who talks to its workload and to whom that talks, or what a tap brought. It is kept for some minutes, and not audited. " +
        "Only of one's own: the report's text is signed as a renewal proof is, for the purpose `report`.",
      body: { schema: reportRequest, example: { report: '{"type":"edges","reportedAt":"2026-11-21T05:00:00.000Z","edges":[]}', proof: "eyJhbGciOi..." } },
      bodyLimitBytes: maxReportBytes,
      success: { status: 204, description: "Taken down." },
      refusals: ["proof_refused", "certificate_expired", "certificate_revoked", "unauthenticated", "forbidden", "not_found"],
      async handle({ body }) {
        await services.report(body, parseReport(body.report));
        return noContent();
      },
    }),
    operation({
      route: "GET /v1/edges",
      tag: "traffic",
      summary: "List who talks to whom",
      description:
        "Put together from what proxies reported within the last minutes; secured only where every side that reported says so. An operator sees " +
        "the edges that begin or end in its scope.",
      success: { status: 200, description: "All of them.", content: { [mediaType.json]: edgeList } },
      handle: async ({ caller }) => json(await services.edges((spiffeId) => isInView(caller, spiffeId))),
    }),
    operation({
      route: "GET /v1/proxies",
      tag: "traffic",
      summary: "List the proxies that live",
      description: "As they reported themselves within the last minutes, each by the certificate whose key signed the report. An operator sees those in its scope.",
      success: { status: 200, description: "Up to 2000 of them.", content: { [mediaType.json]: proxyList } },
      handle: async ({ caller }) => json(await services.proxies((spiffeId) => isInView(caller, spiffeId))),
    }),
    operation({
      route: "POST /v1/taps",
      tag: "traffic",
      summary: "Look at live requests",
      description:
        "Server-sent events: `tap`, then `records` as the workload's proxies bring them, then `end`. Method, path without its query, status, latency " +
        "and identities; never a header or a body. Bounded in time, number and rate; what is left out is counted. That it was opened is in the audit log.",
      body: { schema: tapRequest, example: { workload: "spiffe://east/ns/shop/sa/cart" } },
      success: { status: 200, description: "Events, until it is over.", content: { [mediaType.eventStream]: undefined } },
      refusals: ["spiffe_id_refused", "rate_limited"],
      async handle({ caller, body }) {
        if (caller === undefined) throw new Refusal("unauthenticated", "Taps are for callers that are known.");
        return { status: 200, body: eventStream(await services.tap(body, caller)), contentType: mediaType.eventStream, headers: unbuffered };
      },
    }),
  ];
}

/** Events as they go over the wire, and a sign of life where there are none for a while. */
function eventStream(events: ReadableStream<TapEvent>): ReadableStream<Uint8Array> {
  const reader = events.getReader();
  let alive: NodeJS.Timeout | undefined;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      alive = setInterval(() => {
        if (controller.desiredSize === null) clearInterval(alive);
        else controller.enqueue(heartbeatFrame);
      }, heartbeatMs).unref();
    },
    async pull(controller) {
      const { done, value } = await reader.read();
      if (done) {
        clearInterval(alive);
        return controller.close();
      }
      controller.enqueue(encodeFrame(value.event, JSON.stringify(value.data)));
    },
    async cancel() {
      clearInterval(alive);
      await reader.cancel();
    },
  });
}

/** The text is what was signed, so it is taken apart by itself. @throws {Refusal} invalid_request */
function parseReport(text: string): Report {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Refusal("invalid_request", "report: it is not JSON.");
  }
  const parsed = report.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Refusal("invalid_request", `report.${issue?.path.join(".") ?? ""}: ${issue?.message ?? "it is malformed"}`.slice(0, maxDetailLength));
}

/** As of the feed: each event is handed on at once. */
const unbuffered = { "cache-control": "no-store, no-transform", "x-accel-buffering": "no" };
/** Below what the command line waits. */
const heartbeatMs = 5000;
/** A report, as text in text, and a proof with a chain. */
const maxReportBytes = 160 * 1024;
const maxDetailLength = 400;
