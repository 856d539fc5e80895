import { z } from "@hono/zod-openapi";
import type { EdgeList } from "../contract/edges.ts";
import { mediaType } from "../contract/headers.ts";
import type { ProxyList } from "../contract/proxies.ts";
import type { Report } from "../contract/reports.ts";
import type { TapEvent } from "../contract/taps.ts";
import { encodeFrame, heartbeatFrame } from "../feed/frame.ts";
import { Refusal } from "../refusal.ts";
import { json, noContent } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import { cursor, defaultLimit, encodePosition, integerParameter, limit, parsePosition, type PositionKind } from "./parameters.ts";
import { edgeGroups, edgeList, proxyList, report, reportRequest, tapRequest } from "./schemas/reports.ts";
import { inViewOf } from "./scope.ts";
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
        "Put together from what proxies reported within the last minutes; secured only where every side that reported says so. By client, then server. " +
        "An operator sees the edges that begin or end in its scope.",
      query: z.strictObject({ ...edgeFilter, limit, cursor }),
      success: { status: 200, description: "A page, some seconds old at most.", content: { [mediaType.json]: edgeList } },
      async handle({ caller, query }) {
        const { limit: pageSize = defaultLimit, cursor: from, ...filter } = query;
        const offset = from === undefined ? 0 : parsePosition(from, "edge");
        const list = await services.edges({ ...readFilter(filter), isInView: inViewOf(caller), offset, limit: pageSize });
        return json({ ...list, ...nextOf(offset + list.edges.length, list.total, "edge") } satisfies EdgeList);
      },
    }),
    operation({
      route: "GET /v1/edge-groups",
      tag: "traffic",
      summary: "Look at who talks to whom from afar",
      description:
        "The edges of `GET /v1/edges`, their ends put together by the first parts of their IDs until there are few enough for a picture: workloads by themselves " +
        "where they fit, else by namespace, say. Where no step fits, those with most edges stay and the others are one.",
      query: z.strictObject({ ...edgeFilter, most: integerParameter({ min: 3, max: 100, description: "Groups there may be; default 60." }).optional() }),
      success: { status: 200, description: "Groups, and the links between them: first those that are not secured.", content: { [mediaType.json]: edgeGroups } },
      async handle({ caller, query }) {
        const { most = defaultGroups, ...filter } = query;
        return json(await services.edgeGroups({ ...readFilter(filter), isInView: inViewOf(caller), most }));
      },
    }),
    operation({
      route: "GET /v1/proxies",
      tag: "traffic",
      summary: "List the proxies that live",
      description: "As they reported themselves within the last minutes, each by the certificate whose key signed the report. An operator sees those in its scope.",
      query: z.strictObject({
        authorityId: z.string().regex(/^[0-9a-f]{1,64}$/, "expected an authority's ID").optional().openapi({ description: "Only those whose certificate it signed." }),
        limit, cursor,
      }),
      success: { status: 200, description: "A page, those first whose certificates end first; some seconds old at most.", content: { [mediaType.json]: proxyList } },
      async handle({ caller, query: { authorityId, limit: pageSize = defaultLimit, cursor: from } }) {
        const offset = from === undefined ? 0 : parsePosition(from, "proxy");
        const list = await services.proxies({ isInView: inViewOf(caller), authorityId, offset, limit: pageSize });
        return json({ ...list, ...nextOf(offset + list.proxies.length, list.total, "proxy") } satisfies ProxyList);
      },
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

const edgeFilter = {
  search: z.string().min(1).max(2048).optional().openapi({ description: "Part of the client's or the server's ID.", example: "/ns/shop/" }),
  spiffeId: z.string().min(1).max(2048).optional().openapi({ description: "The client's or the server's ID.", example: "spiffe://east/ns/shop/sa/cart" }),
  secured: z.enum(["true", "false"]).optional(),
};

function readFilter<Filter extends { readonly secured?: "true" | "false" | undefined }>({ secured, ...filter }: Filter) {
  return { ...filter, secured: secured === undefined ? undefined : secured === "true" };
}

function nextOf(next: number, total: number, kind: PositionKind): { readonly nextCursor?: string } {
  return next < total ? { nextCursor: encodePosition(next, kind) } : {};
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

const defaultGroups = 60;
/** As of the feed: each event is handed on at once. */
const unbuffered = { "cache-control": "no-store, no-transform", "x-accel-buffering": "no" };
/** Below what the command line waits. */
const heartbeatMs = 5000;
/** A report, as text in text, and a proof with a chain. */
const maxReportBytes = 160 * 1024;
const maxDetailLength = 400;
