import { z } from "@hono/zod-openapi";
import type { Readiness } from "../../contract/vitals.ts";
import type { Is, Kept } from "./kept.ts";

export const readiness = z.object({
  ready: z.boolean(),
  reasons: z.array(z.string()).readonly(),
  warnings: z.array(z.string()).readonly().optional(),
}).openapi("Readiness");

/** Does not compile where one of them differs from its type in the contract. */
export type ReadinessKeepTheContract = Kept<[
  Is<typeof readiness, Readiness>,
]>;
