import type { Service } from "./services.ts";

export const policyActions = ["allow", "deny", "audit"] as const;
export type PolicyAction = (typeof policyActions)[number];

/** Requests that a rule is about: those that fit each member that is there. */
export interface PolicyRule {
  /** For explanations; default its number in the policy, from 1. */
  readonly name?: string;
  /** deny goes before allow; audit decides nothing and has the request logged. */
  readonly action: PolicyAction;
  /**
   * Patterns of the clients' SPIFFE IDs: a star stands for one whole segment, as the last one for one or more. To deny or audit also
   * `*`: everybody, with an identity or without.
   */
  readonly from: readonly string[];
  /** Of the server's app. */
  readonly ports?: readonly number[];
  /** HTTP methods, upper case. */
  readonly methods?: readonly string[];
  /** Path patterns, decoded, without query: a star stands for one whole segment, as the last one for one or more; `/*` is every path. */
  readonly paths?: readonly string[];
  /** gRPC methods, `package.Service/Method` or `package.Service/*`; not together with methods or paths. */
  readonly grpc?: readonly string[];
}

/** Who may call the workloads it selects. If anything selects a workload, what no rule allows is denied. */
export interface Policy {
  readonly name: string;
  readonly description?: string;
  /** Patterns of the servers' SPIFFE IDs. */
  readonly workloads: readonly string[];
  readonly rules: readonly PolicyRule[];
}

/** `GET /v1/policy`: all that concerns one workload's proxy. It is taken whole or not at all. */
export interface PolicySet {
  /** Rises with each change of any policy or service. */
  readonly sequence: number;
  /** SPIFFE ID it was made for. */
  readonly workload: string;
  /** Those that select the workload. */
  readonly policies: readonly Policy[];
  readonly services: readonly Service[];
}

/** `POST /v1/policies`: all of it or none; what is not named stays. */
export interface ApplyRequest {
  readonly policies?: readonly Policy[];
  readonly services?: readonly Service[];
}

export interface ApplyResult {
  readonly sequence: number;
  /** `policy cart`, `service world`, as they changed; empty when all was so already. */
  readonly changed: readonly string[];
}

export interface Changed {
  readonly sequence: number;
  readonly changedAt: string;
  readonly changedBy: string;
}

/** `GET /v1/policies` and `GET /v1/services`, by name. */
export interface PolicyList {
  readonly sequence: number;
  readonly policies: readonly (Policy & { readonly changed: Changed })[];
}
