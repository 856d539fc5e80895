import { z } from "@hono/zod-openapi";
import { mediaType } from "../contract/headers.ts";
import { Refusal } from "../refusal.ts";
import { json, noContent } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import { createOperatorRequest, operatorList, operatorSummary } from "./schemas/operators.ts";
import type { Caller, CaServices } from "./services.ts";

/** Roles of those who call with their SVID instead of an API token. */
export function operatorOperations({ operators, trustDomain }: CaServices): readonly Operation[] {
  const spiffeId = `spiffe://${trustDomain}/ops/alice`;
  return [
    operation({
      route: "POST /v1/operators",
      tag: "operators",
      summary: "Bind a role to a SPIFFE ID",
      description:
        "From now on whoever has a certificate for this ID may sign its requests and has this role, and only an admin vouches for the ID. " +
        "That goes for certificates and join tokens that were given for it before, too.",
      body: { schema: createOperatorRequest, example: { spiffeId, role: "operator", scope: [`spiffe://${trustDomain}/ns/shop/*`] } },
      success: { status: 201, description: "Bound.", content: { [mediaType.json]: operatorSummary } },
      refusals: ["spiffe_id_refused", "dns_name_refused", "operator_exists", "changed_meanwhile"],
      handle: async ({ caller, body }) => json(await operators.add(body, known(caller)), 201),
    }),
    operation({
      route: "GET /v1/operators",
      tag: "operators",
      summary: "List operators",
      description: "SPIFFE IDs and prefixes with their roles, by ID.",
      success: { status: 200, description: "All of them.", content: { [mediaType.json]: operatorList } },
      handle: async () => json(await operators.list()),
    }),
    operation({
      route: "DELETE /v1/operators",
      tag: "operators",
      summary: "Take a role back",
      description: "At once here, within a second on other replicas; the certificate stays valid and is a workload's again.",
      query: z.strictObject({ spiffeId: z.string().min(1).max(2048).openapi({ description: "As it was bound.", example: spiffeId }) }),
      success: { status: 204, description: "Taken back." },
      refusals: ["not_found", "changed_meanwhile"],
      async handle({ caller, query }) {
        await operators.remove(query.spiffeId, known(caller));
        return noContent();
      },
    }),
  ];
}

/** The routes' rules have no public case, so there is a caller; if one ever had, nobody must not give roles. */
function known(caller: Caller | undefined): Caller {
  if (caller === undefined) throw new Refusal("unauthenticated", "Roles are given by admins.");
  return caller;
}
