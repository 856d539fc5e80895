import type { PolicyDecision } from "../../ca/contract/policy-decisions.ts";
import { matchesSpiffeIdPattern, type SpiffeId } from "../../ca/pki/spiffe-id.ts";
import type { ConnectionPolicy } from "../../ca/policy/decide.ts";
import type { DataPathDeps } from "../data-path.ts";
import type { PolicyInForce } from "../identity/source.ts";
import { pacedByName } from "../paced.ts";
import type { Refusal } from "../refusals.ts";

/** Why a request is refused. */
export interface Denial {
  /** For the client: names the rule. */
  readonly message: string;
}

/** What one client may on one connection. Each question is answered by the policy in force at that moment. */
export interface Admission {
  /** The connection is not HTTP, or not looked into. @returns false: it is refused, counted and logged */
  opaque(): boolean;
  /** Asked for each request before anything of it is sent to the app. @param target path and query. @returns undefined: it may pass */
  request(method: string, target: string): Denial | undefined;
  /** Whether what the connection turned out to be, and its last request, would still be let in; counts nothing. */
  isAllowed(): boolean;
  /** Whether the client may be connected at all; counts nothing. */
  mayConnect(): boolean;
  /** Whether a request under way would still be let in; counts nothing. */
  mayGoOn(method: string, target: string): boolean;
}

/**
 * Asks whether a client may connect at all.
 * @param client  undefined: it proved no identity
 * @param server  our own SPIFFE ID
 * @param port    of the app
 * @returns       undefined: refused, counted and logged
 */
export type Admit = (client: SpiffeId | undefined, server: string, port: number) => Admission | undefined;

export interface AdmissionDeps extends Pick<DataPathDeps, "config" | "source" | "metrics" | "log"> {
  readonly refuse: (refusal: Refusal) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/**
 * Enforces policy inbound. While the policy is not known nobody is let in. In the mode `audit` what policy denies is told and let through.
 * The setting `allow` is this host's own word: who is not on it stays out whatever policy says, and where no policy
 * selects this workload it stands for the mesh default.
 */
export function inboundAdmission({ config, source, metrics, log, refuse, now }: AdmissionDeps): Admit {
  const { allow, inboundMode } = config;
  const labels = ["client_id", "server_id", "rule", "protocol"];
  const denied = metrics.counter("inbound_policy_denied_total", "Connections and requests that policy denied, by rule", labels);
  const wouldDeny = metrics.counter("inbound_policy_would_deny_total", "What policy would have denied, let through in the mode audit", labels);
  const audited = metrics.counter("inbound_policy_audited_total", "What fits a rule with the action audit", labels);
  const say = pacedByName(now);

  return (client, server, port) => {
    const name = client?.uri ?? "an unauthenticated client";
    let inForce: PolicyInForce | undefined;
    let rules: ConnectionPolicy | undefined;
    let asked: Asked = "nothing";

    function current(): ConnectionPolicy | undefined {
      const policy = source.policy();
      if (policy !== inForce || rules === undefined) {
        inForce = policy;
        rules = policy?.inbound.connection(client, port);
      }
      return rules;
    }

    /** What is decided for what is asked, this host's settings included. */
    function decide(what: Asked, policy: ConnectionPolicy): Decision | undefined {
      const decision = policy.settled ?? (what === "nothing" ? undefined : what === "opaque" ? policy.tcp : policy.http(what.method, what.target));
      const listed = allow === undefined || (client === undefined ? inboundMode === "permissive" : allow.some((pattern) => matchesSpiffeIdPattern(pattern, client)));
      if (!listed) return { ...(decision ?? noAudit), action: "deny", reason: "not_in_allow_list" };
      if (decision === undefined || decision.action === "allow") return decision;
      const isOpened = (decision.reason === "foreign" && allow !== undefined) || (decision.reason === "unauthenticated" && inboundMode === "permissive");
      return isOpened ? { ...decision, action: "allow" } : decision;
    }

    /** @returns why it is refused, once that is told */
    function enforce(what: Asked): Denial | undefined {
      const policy = current();
      if (policy === undefined) {
        const message = "it is not known yet who may call this workload, so nobody may; see /readyz of its proxy";
        refuse({ reason: "policy_unavailable", peer: name, message: `${name} refused: ${message}` });
        return { message };
      }
      const decision = decide(what, policy);
      if (decision === undefined || (decision.action === "allow" && decision.audit.length === 0)) return undefined;
      const about = typeof what === "object" ? ` ${what.method} ${what.target.split("?", 1)[0]}` : "";
      const labelsOf = (rule: string) => ({ client_id: client?.uri ?? "", server_id: server, rule, protocol: typeof what === "object" ? "http" : "tcp" });
      // Told once it is known what the connection carries.
      if (what === "nothing" && (decision.action === "allow" || inboundMode === "audit")) return undefined;
      for (const rule of decision.audit) {
        audited.inc(labelsOf(rule));
        say(`${rule} ${name}`, (heldBack) => log.info({ clientId: client?.uri, serverId: server, rule, heldBack }, `${name}${about} fits the audit rule ${rule}`));
      }
      if (decision.action === "allow") return undefined;
      const rule = decision.rule ?? decision.reason;
      const message = explain(decision, name);
      if (inboundMode === "audit") {
        wouldDeny.inc(labelsOf(rule));
        say(`would ${rule} ${name}`, (heldBack) => (
          log.warn({ clientId: client?.uri, serverId: server, rule, heldBack }, `let through, as the mode is audit: ${name}${about} would be refused: ${message}`)
        ));
        return undefined;
      }
      denied.inc(labelsOf(rule));
      refuse({ reason: "not_allowed", peer: name, message: `${name}${about} refused: ${message}` });
      return { message };
    }

    function isLetIn(what: Asked): boolean {
      const policy = current();
      if (policy === undefined) return false;
      return inboundMode === "audit" || decide(what, policy)?.action !== "deny";
    }

    const admission: Admission = {
      opaque() {
        asked = "opaque";
        return enforce("opaque") === undefined;
      },
      request(method, target) {
        asked = { method, target };
        return enforce(asked);
      },
      isAllowed: () => isLetIn(asked),
      mayConnect: () => isLetIn("nothing"),
      mayGoOn: (method, target) => isLetIn({ method, target }),
    };
    return enforce("nothing") === undefined ? admission : undefined;
  };
}

/** What was asked last on a connection. */
type Asked = "nothing" | "opaque" | { readonly method: string; readonly target: string };

type Decision = Omit<PolicyDecision, "reason"> & { readonly reason: PolicyDecision["reason"] | "not_in_allow_list" };

function explain({ rule, reason }: Decision, client: string): string {
  if (reason === "path_ambiguous") return `rule ${rule} is about paths, and servers read this one differently; ask for it in its plain form`;
  if (reason === "not_http") return `rule ${rule} is about HTTP requests, and this connection is not HTTP that could be looked into`;
  if (rule !== undefined) return `rule ${rule} does not let ${client} do this; change the rule if it should`;
  return reasons[reason] ?? `policy does not let ${client} do this`;
}

const noAudit = { audit: [] } as const;
const reasons: Readonly<Partial<Record<Decision["reason"], string>>> = {
  no_rule_allows: "policies select this workload, and none of their rules allows this; add one that does",
  foreign: "it is of another trust domain, and no rule or --allow lets it in",
  unauthenticated: "it proved no identity",
  not_in_allow_list: "it is authenticated, but not in the allow list of this proxy; add it to --allow",
};
