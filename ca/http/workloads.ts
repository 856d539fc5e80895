import { z } from "@hono/zod-openapi";
import { mediaType } from "../contract/headers.ts";
import type { WorkloadList } from "../contract/workloads.ts";
import { json } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import { cursor, defaultLimit, encodePosition, limit, parsePosition } from "./parameters.ts";
import { proxySummary } from "./schemas/reports.ts";
import { inViewOf } from "./scope.ts";
import type { CaServices } from "./services.ts";

/** Who holds a certificate now. */
export function workloadOperations(services: Pick<CaServices, "workloads" | "proxies">): readonly Operation[] {
  return [
    operation({
      route: "GET /v1/workloads",
      tag: "certificates",
      summary: "List who holds a live certificate",
      description:
        "By ID, each holder by its newest certificate: what was renewed or revoked is left out, and so is the CA's own. Replicas of a workload are holders each. " +
        "An operator sees those in its scope.",
      query: z.strictObject({
        search: z.string().min(1).max(256).optional().openapi({ description: "Part of the ID.", example: "/ns/shop/" }),
        include: z.enum(["proxy"]).optional().openapi({ description: "With each what its proxy said of itself lately." }),
        limit,
        cursor,
      }),
      success: { status: 200, description: "A page, some seconds old at most.", content: { [mediaType.json]: workloadList } },
      async handle({ caller, query }) {
        const { search, include, limit: pageSize = defaultLimit } = query;
        const offset = query.cursor === undefined ? 0 : parsePosition(query.cursor, "workload");
        const { workloads, total, truncated } = await services.workloads({ isInView: inViewOf(caller), search, offset, limit: pageSize });
        const next = offset + workloads.length;
        const heard = include && (await services.proxies({ isInView: inViewOf(caller), serialNumbers: workloads.map(({ serialNumber }) => serialNumber), offset: 0, limit: pageSize }));
        const proxies = new Map(heard?.proxies.map((proxy) => [proxy.serialNumber, proxy]));
        return json({
          workloads: workloads.map((one) => ({ ...one, ...(proxies.has(one.serialNumber) && { proxy: proxies.get(one.serialNumber) }) })), total, truncated,
          ...(heard && { proxiesTruncated: heard.truncated }), ...(next < total && { nextCursor: encodePosition(next, "workload") }),
        } satisfies WorkloadList);
      },
    }),
  ];
}

const workloadList = z
  .object({
    workloads: z.array(z.object({
      spiffeId: z.string().openapi({ example: "spiffe://east/ns/shop/sa/cart" }), serialNumber: z.string(), notAfter: z.iso.datetime({ precision: 3 }),
      acknowledgedSequence: z.string().openapi({ description: "Of the bundle that it has; \"0\" for none." }),
      proxy: proxySummary.optional(),
    })).readonly(),
    total: z.number().int().openapi({ description: "On all pages." }),
    truncated: z.boolean().openapi({ description: "There are more than are listed." }),
    proxiesTruncated: z.boolean().optional().openapi({ description: "There are more proxies than are looked at." }),
    nextCursor: z.string().optional(),
  })
  .openapi("WorkloadList");

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;
/** As in `schemas.ts`. */
export const workloadSchemaKeepsTheContract: Same<z.infer<typeof workloadList>, WorkloadList> = true;
