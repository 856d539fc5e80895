import { z } from "@hono/zod-openapi";
import type { EdgeGroups, EdgeList } from "../../contract/edges.ts";
import type { ProxyList } from "../../contract/proxies.ts";
import type { Report, ReportRequest } from "../../contract/reports.ts";
import type { TapRequest } from "../../contract/taps.ts";
import type { Is, Kept } from "./kept.ts";

/** What proxies report and what is put together from it, as zod schemas; checked against the contract at the end. */

const idOrNone = z.string().max(2048).openapi({ description: "SPIFFE ID; empty where nobody proved one.", example: "spiffe://east/ns/shop/sa/cart" });
const direction = z.enum(["inbound", "outbound"]);
const word = z.string().regex(/^[a-z0-9_.-]{1,64}$/, "expected a word");
const time = z.iso.datetime({ precision: 3 });
const reason = word.optional().openapi({ description: "Why it is not secured." });
const nextCursor = z.string().optional();
const leftOut = z.number().int().min(0).max(1_000_000_000).optional();
const printable = (max: number) => z.string().max(max).regex(/^[\x20-\x7e]*$/, "expected printable ASCII");

const seenEdge = z.strictObject({
  direction, clientId: idOrNone, serverId: idOrNone, protocol: word.optional(), secured: z.boolean(), reason,
  connections: z.number().int().min(0).max(10_000_000),
});
const tapRecord = z.strictObject({
  startedAt: time, direction, clientId: idOrNone, serverId: idOrNone, tls: z.boolean(), noTlsReason: reason, protocol: word,
  method: printable(32), path: printable(512), status: z.number().int().min(0).max(999), latencyMs: z.number().min(0).max(1e10), whole: z.boolean(),
});

const inboundMode = z.enum(["strict", "audit", "permissive"]).optional().openapi({ description: "What becomes of inbound connections that policy denies." });

/** What the text of a report says. */
export const report = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("edges"), reportedAt: time, edges: z.array(seenEdge).max(200).readonly(), leftOut, version: printable(64).optional(), inboundMode, startedAt: time.optional(), revocationSequence: z.number().int().min(0).optional() }),
  z.strictObject({ type: z.literal("tap"), reportedAt: time, tap: z.string().regex(/^[0-9a-f]{32}$/), records: z.array(tapRecord).max(200).readonly(), leftOut }),
]);

export const reportRequest = z
  .strictObject({
    report: z.string().min(2).max(48 * 1024).openapi({ description: "JSON text: `type` is `edges` or `tap`." }),
    proof: z.string().min(1).max(48 * 1024).openapi({ description: "By the key of a certificate that is valid now, over the bytes of `report`." }),
  })
  .openapi("ReportRequest");

export const tapRequest = z
  .strictObject({
    workload: z.string().min(1).max(2048).openapi({ description: "SPIFFE ID.", example: "spiffe://east/ns/shop/sa/cart" }),
    direction: direction.optional(),
    method: z.string().regex(/^[A-Z]{1,32}$/, "expected a method in upper case").optional(),
    path: printable(512).optional().openapi({ description: "What the path begins with." }),
    seconds: z.number().int().min(1).max(600).optional().openapi({ description: "Default 60." }),
    limit: z.number().int().min(1).max(10_000).optional().openapi({ description: "Records; default 1000." }),
  })
  .openapi("TapRequest");

export const edgeList = z
  .object({
    edges: z.array(z.object({
      clientId: idOrNone, serverId: idOrNone, secured: z.boolean(), reason, protocols: z.array(z.string()).readonly(), connections: z.number().int(),
      seenBy: z.array(z.enum(["client", "server"])).readonly(), lastSeen: time,
    })).readonly(),
    total: z.number().int().openapi({ description: "On all pages." }), unsecured: z.number().int().openapi({ description: "How many of the total are not secured." }),
    proxies: z.number().int().openapi({ description: "Proxies that reported lately." }),
    truncated: z.boolean().openapi({ description: "Proxies left some out, or there are more than are ever looked at." }),
    nextCursor,
  })
  .openapi("EdgeList");

export const edgeGroups = z
  .object({
    groups: z.array(z.object({
      name: z.string().openapi({ description: "A SPIFFE ID or a prefix of some; empty for whoever is not known, `*` for all that have no group of their own.", example: "spiffe://east/ns/shop" }),
      members: z.number().int(),
    })).readonly(),
    links: z.array(z.object({
      from: z.number().int().openapi({ description: "Place in `groups`." }), to: z.number().int(), edges: z.number().int(), unsecured: z.number().int(), reason: z.string().optional(),
    })).readonly(),
    leftOut: z.number().int().openapi({ description: "Links that do not fit." }),
  })
  .openapi("EdgeGroups");

export const proxySummary = z.object({
  spiffeId: z.string().openapi({ example: "spiffe://east/ns/shop/sa/cart" }), serialNumber: z.string(), authorityId: z.string(), notBefore: time, notAfter: time,
  reportedAt: time.openapi({ description: "By the proxy's clock." }), receivedAt: time.openapi({ description: "By the CA's." }), version: z.string().optional(), inboundMode,
  startedAt: time.optional().openapi({ description: "Of the proxy's process." }),
  revocationSequence: z.number().int().optional().openapi({ description: "Of the newest revocation that it enforces." }),
}).openapi("ProxySummary");

export const proxyList = z
  .object({
    proxies: z.array(proxySummary).readonly(),
    total: z.number().int().openapi({ description: "On all pages." }),
    truncated: z.boolean().openapi({ description: "There are more than are ever looked at." }),
    nextCursor,
  })
  .openapi("ProxyList");

/** Does not compile where one of them differs from its type in the contract. */
export type ReportsKeepTheContract = Kept<[
  Is<typeof report, Report>,
  Is<typeof reportRequest, ReportRequest>,
  Is<typeof tapRequest, TapRequest>,
  Is<typeof edgeList, EdgeList>,
  Is<typeof edgeGroups, EdgeGroups>,
  Is<typeof proxyList, ProxyList>,
]>;
