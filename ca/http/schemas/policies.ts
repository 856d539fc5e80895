import { z } from "@hono/zod-openapi";
import { policyActions, type ApplyRequest, type ApplyResult, type Policy, type PolicyList, type PolicySet } from "../../contract/policies.ts";
import type { PolicyTest, PolicyTestResult } from "../../contract/policy-decisions.ts";
import type { Service, ServiceList } from "../../contract/services.ts";
import type { Is, Kept } from "./kept.ts";

/** Shapes for the description; what a policy may hold is judged by `ca/policy/parse.ts`, as the proxies do. */
const texts = (example: readonly string[], description?: string) =>
  z.array(z.string().min(1).max(8192)).min(1).max(64).readonly().openapi({ example: [...example], ...(description && { description }) });
const spiffeId = z.string().min(1).max(2048).openapi({ example: "spiffe://east/ns/shop/sa/cart" });
const port = z.number().int().min(1).max(65_535);
const sequence = z.number().int().openapi({ description: "Rises with each change of any policy or service." });

const rule = z
  .strictObject({
    name: z.string().min(1).max(63).optional().openapi({ description: "For explanations; default its number, from 1." }),
    action: z.enum(policyActions).openapi({ description: "deny goes before allow; audit decides nothing and has the request logged." }),
    from: texts(["spiffe://east/ns/*/sa/web"], "Clients: a star stands for one whole segment, as the last one for one or more; `*` alone, to deny or audit, for everybody."),
    ports: z.array(port).min(1).max(64).readonly().optional().openapi({ description: "Of the server's app." }),
    methods: texts(["GET"]).optional(),
    paths: texts(["/items/*"], "Decoded, without query; stars as above; `/*` is every path.").optional(),
    grpc: texts(["shop.Cart/Add", "shop.Stock/*"], "Not together with methods or paths.").optional(),
  })
  .openapi("PolicyRule");
const policyShape = {
  name: z.string().min(1).max(63).openapi({ example: "cart" }),
  description: z.string().max(256).optional(),
  workloads: texts(["spiffe://east/ns/shop/sa/cart"], "Servers that the policy is about."),
  rules: z.array(rule).min(1).max(64).readonly(),
};
export const policy = z.strictObject(policyShape).openapi("Policy");
const address = z
  .strictObject({ host: z.string().min(1).max(253), port, weight: z.number().int().min(1).max(1000).optional() })
  .openapi("ServiceAddress", { description: "Where the server's proxy is, when DNS does not say." });
const serviceShape = {
  name: z.string().min(1).max(253).openapi({ example: "cart.shop.svc" }),
  port: port.optional().openapi({ description: "Absent: on any port." }),
  spiffeId,
  addresses: z.array(address).min(1).max(64).readonly().optional(),
};
export const service = z.strictObject(serviceShape).openapi("Service");

export const applyRequest = z
  .strictObject({ policies: z.array(policy).max(1000).readonly().optional(), services: z.array(service).max(1000).readonly().optional() })
  .openapi("ApplyRequest");
export const applyResult = z
  .object({ sequence, changed: z.array(z.string()).readonly().openapi({ description: "What was not so already.", example: ["policy cart", "service cart"] }) })
  .openapi("ApplyResult");
const changed = z.object({ sequence, changedAt: z.string().openapi({ format: "date-time" }), changedBy: z.string() }).openapi("Changed");
export const policyList = z.object({ sequence, policies: z.array(z.object({ ...policyShape, changed })).readonly() }).openapi("PolicyList");
export const serviceList = z.object({ sequence, services: z.array(z.object({ ...serviceShape, changed })).readonly() }).openapi("ServiceList");
export const policySet = z
  .object({ sequence, workload: spiffeId, policies: z.array(policy).readonly(), services: z.array(service).readonly() })
  .openapi("PolicySet");
export const policyTest = z
  .strictObject({ from: spiffeId, to: spiffeId, port: port.optional(), method: z.string().min(1).max(32).optional(), path: z.string().min(1).max(16_384).optional() })
  .openapi("PolicyTest");
export const policyTestResult = z
  .object({
    action: z.enum(["allow", "deny"]),
    rule: z.string().optional().openapi({ description: "`policy/rule` that decided." }),
    reason: z.enum(["rule_allowed", "rule_denied", "path_ambiguous", "not_http", "no_rule_allows", "mesh_default", "foreign", "unauthenticated"]),
    audit: z.array(z.string()).readonly().openapi({ description: "Audit rules that the request fits." }),
    sequence,
    policies: z.array(z.string()).readonly().openapi({ description: "Policies that select the server." }),
  })
  .openapi("PolicyTestResult");

/** Does not compile where one of them differs from its type in the contract. */
export type PoliciesKeepTheContract = Kept<[
  Is<typeof policy, Policy>,
  Is<typeof service, Service>,
  Is<typeof applyRequest, ApplyRequest>,
  Is<typeof applyResult, ApplyResult>,
  Is<typeof policyList, PolicyList>,
  Is<typeof serviceList, ServiceList>,
  Is<typeof policySet, PolicySet>,
  Is<typeof policyTest, PolicyTest>,
  Is<typeof policyTestResult, PolicyTestResult>,
]>;
