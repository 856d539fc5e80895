/** `POST /v1/policies/test`: would this be let in, and by which rule? Without method and path it is a connection that is not HTTP. */
export interface PolicyTest {
  /** SPIFFE ID of the client. */
  readonly from: string;
  /** SPIFFE ID of the server. */
  readonly to: string;
  /** Of the server's app; needed where a rule is about ports. */
  readonly port?: number;
  readonly method?: string;
  readonly path?: string;
}

export interface PolicyTestResult extends PolicyDecision {
  readonly sequence: number;
  /** Policies that select the server. */
  readonly policies: readonly string[];
}

export interface PolicyDecision {
  readonly action: "allow" | "deny";
  /** `policy/rule` that decided; absent when none did. */
  readonly rule?: string;
  readonly reason: PolicyReason;
  /** Rules with the action audit that the request fits. */
  readonly audit: readonly string[];
}

/**
 * rule_allowed, rule_denied: by `rule`. path_ambiguous: denied by `rule`, which is about paths, because servers read this path
 * differently. not_http: denied by `rule`, which is about HTTP requests, because the connection is none that could be looked into.
 * no_rule_allows: something selects the workload. mesh_default: nothing does, and the client is of its trust domain; foreign: is not.
 * unauthenticated: the client has no identity.
 */
export type PolicyReason =
  | "rule_allowed" | "rule_denied" | "path_ambiguous" | "not_http" | "no_rule_allows" | "mesh_default" | "foreign" | "unauthenticated";
