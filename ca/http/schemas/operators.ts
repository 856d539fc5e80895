import { z } from "@hono/zod-openapi";
import type { CreateOperatorRequest, OperatorList, OperatorSummary } from "../../contract/operators.ts";
import type { Is, Kept } from "./kept.ts";
import { spiffeId, instant } from "./members.ts";
import { role, scope } from "./roles.ts";

export const createOperatorRequest = z
  .strictObject({
    spiffeId: spiffeId.openapi({ description: "A SPIFFE ID, or a prefix ending in `/*`; of several bindings the most specific counts." }),
    role,
    scope: scope.optional(),
  })
  .openapi("CreateOperatorRequest");

export const operatorSummary = z
  .object({ spiffeId, role, scope: scope.optional(), createdAt: instant, createdBy: z.string(), lastUsedAt: instant.optional().openapi({ description: "To the hour; absent when the role was never used, or not for a year." }) })
  .openapi("Operator");

export const operatorList = z.object({ operators: z.array(operatorSummary).readonly() }).openapi("OperatorList");

/** Does not compile where one of them differs from its type in the contract. */
export type OperatorsKeepTheContract = Kept<[
  Is<typeof createOperatorRequest, CreateOperatorRequest>,
  Is<typeof operatorSummary, OperatorSummary>,
  Is<typeof operatorList, OperatorList>,
]>;
