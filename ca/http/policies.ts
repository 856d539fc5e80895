import { z } from "@hono/zod-openapi";
import { mediaType } from "../contract/headers.ts";
import { parseSpiffeId } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";
import { conditional, json, noContent } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import { logPosition } from "./parameters.ts";
import { applyRequest, applyResult, policyList, policySet, policyTest, policyTestResult, serviceList } from "./schemas/policies.ts";
import type { Caller, CaServices } from "./services.ts";

/** Who may call whom, and who answers to a name. */
export function policyOperations({ policies, trustDomain }: CaServices): readonly Operation[] {
  const [web, cart] = [`spiffe://${trustDomain}/ns/shop/sa/web`, `spiffe://${trustDomain}/ns/shop/sa/cart`];
  const policy = { name: "cart", workloads: [cart], rules: [{ action: "allow", from: [web], methods: ["GET"], paths: ["/items/*"] }] } as const;
  const name = z.object({ name: z.string().regex(/^[a-z0-9._:-]{1,260}$/, "expected a name").openapi({ description: "Name.", example: "cart" }) });
  return [
    operation({
      route: "POST /v1/policies",
      tag: "policies",
      summary: "Apply policies and services",
      description:
        "Adds or replaces what is named, all of it or nothing; what is not named stays. A policy is about the workloads it selects: a deny goes " +
        "before every allow, and if anything but an audit selects a workload, what no rule allows is denied. An operator's policies are about " +
        "workloads in its scope; services are for admins. Proxies are told at once.",
      body: { schema: applyRequest, example: { policies: [policy], services: [{ name: "cart", spiffeId: cart }] } },
      bodyLimitBytes: maxApplyBytes,
      success: { status: 200, description: "Applied, durably.", content: { [mediaType.json]: applyResult } },
      refusals: ["policy_refused", "changed_meanwhile"],
      handle: async ({ caller, body }) => json(await policies.apply(body, known(caller))),
    }),
    operation({
      route: "GET /v1/policies",
      tag: "policies",
      summary: "List policies",
      description: "All of them, by name, and when and by whom each was changed last.",
      success: { status: 200, description: "All of them.", content: { [mediaType.json]: policyList } },
      handle: async () => json(await policies.policies()),
    }),
    operation({
      route: "DELETE /v1/policies/{name}",
      tag: "policies",
      summary: "Remove a policy",
      description: "When nothing selects a workload any more, the mesh default holds for it again.",
      params: name,
      success: { status: 204, description: "Removed." },
      refusals: ["not_found", "changed_meanwhile"],
      async handle({ caller, params }) {
        await policies.remove("policy", params.name, known(caller));
        return noContent();
      },
    }),
    operation({
      route: "POST /v1/policies/test",
      tag: "policies",
      summary: "Explain a decision",
      description: "What a proxy would decide, and by which rule: it is decided by the same code. Without method and path it is a connection that is not HTTP.",
      body: { schema: policyTest, example: { from: web, to: cart, port: 8080, method: "GET", path: "/items/1" } },
      success: { status: 200, description: "The decision.", content: { [mediaType.json]: policyTestResult } },
      refusals: ["spiffe_id_refused", "invalid_request"],
      handle: async ({ body }) => json(await policies.test(body)),
    }),
    operation({
      route: "GET /v1/services",
      tag: "policies",
      summary: "List services",
      description: "Which SPIFFE ID must answer to which name.",
      success: { status: 200, description: "All of them.", content: { [mediaType.json]: serviceList } },
      handle: async () => json(await policies.services()),
    }),
    operation({
      route: "DELETE /v1/services/{name}",
      tag: "policies",
      summary: "Remove a service",
      description: "By its name, with its port if it has one: `cart:8080`.",
      params: name,
      success: { status: 204, description: "Removed." },
      refusals: ["not_found", "changed_meanwhile"],
      async handle({ caller, params }) {
        await policies.remove("service", params.name, known(caller));
        return noContent();
      },
    }),
    operation({
      route: "GET /v1/policy",
      tag: "policies",
      summary: "Fetch a workload's policy",
      description:
        "All that concerns one workload's proxy, to be taken whole: for the workload itself, which signs the request with its SVID, or for the one " +
        "that is named. With If-None-Match an unchanged set costs 304; the watch event `policy` says when to ask.",
      query: z.strictObject({
        workload: z.string().min(1).max(2048).optional().openapi({ description: "SPIFFE ID; default: the caller's own." }),
        sequence: logPosition("A sequence that the caller has heard of: the answer is not older.").optional(),
      }),
      success: { status: 200, description: "The set.", content: { [mediaType.json]: policySet } },
      refusals: ["spiffe_id_refused"],
      async handle({ request, caller, query }) {
        const { spiffeId, role, name: who } = known(caller);
        const workload = query.workload ?? spiffeId;
        if (workload === undefined) throw new Refusal("invalid_request", "workload: name the workload whose policy you want; an API token is none.");
        if (role === "workload" && workload !== spiffeId) throw new Refusal("forbidden", `${who} may fetch its own policy only.`);
        const { sequence, read } = await policies.setFor(parseSpiffeId(workload), query.sequence ?? 0);
        return conditional(request, `"${sequence}"`, () => json(read()));
      },
    }),
  ];
}

/** The routes' rules have no public case, so there is a caller; if one ever had, nobody must not make rules. */
function known(caller: Caller | undefined): Caller {
  if (caller === undefined) throw new Refusal("unauthenticated", "Policies are for callers that are known.");
  return caller;
}

/** As much as all policies and services together may have. */
const maxApplyBytes = 1024 * 1024;
