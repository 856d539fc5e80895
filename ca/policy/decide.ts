import type { Policy, PolicyRule } from "../contract/policies.ts";
import type { PolicyDecision, PolicyReason } from "../contract/policy-decisions.ts";
import type { SpiffeId } from "../pki/spiffe-id.ts";
import { foldPath, matchesFoldedPath, matchesPath, normalizePath, parsePathPattern, type PathPattern } from "./http-path.ts";
import { matchesAnyId, parseIdPattern, type IdPattern } from "./id-pattern.ts";
import { parsePolicy, PolicyError } from "./parse.ts";

/**
 * The one kernel that decides who may call whom: the proxies run it, and `countersign policy test` does. Pure. The decision does not
 * depend on the order of policies or rules:
 * - A deny that fits goes before every allow. If any rule but an audit selects the workload, what no rule allows is denied.
 * - Otherwise the mesh default: who has proved an identity of the workload's own trust domain is let in.
 * - Where a deny cannot tell whether it fits, it does: a connection that is not HTTP, a path that servers read differently. It takes
 *   letter case, and HEAD for GET, as servers do. An allow fits exactly or not at all.
 */
export interface InboundPolicy {
  /**
   * What holds for all of a client's connections to a port: settle it at connect, and keep it for the requests that follow.
   * @param client  undefined: it proved no identity
   */
  connection(client: SpiffeId | undefined, port: number): ConnectionPolicy;
}

export interface ConnectionPolicy {
  /** Decided whatever is sent over the connection; undefined: each request has to be looked at. */
  readonly settled: PolicyDecision | undefined;
  /** For a connection that is not HTTP, or not looked into. */
  readonly tcp: PolicyDecision;
  /**
   * For one HTTP or gRPC request.
   * @param target  as received, with or without query; only the origin form has a path that can be allowed
   */
  http(method: string, target: string): PolicyDecision;
}

export interface InboundRequest {
  readonly client: SpiffeId | undefined;
  readonly port: number;
  /** Absent: the connection is not HTTP. */
  readonly http?: { readonly method: string; readonly target: string };
}

/** One request, decided from the start. */
export function decideInbound(policy: InboundPolicy, { client, port, http }: InboundRequest): PolicyDecision {
  const connection = policy.connection(client, port);
  return connection.settled ?? (http === undefined ? connection.tcp : connection.http(http.method, http.target));
}

/**
 * Makes the policy of one workload; policies that do not select it are left out.
 * @param policies  as received: they are read strictly, and one fault refuses all
 * @throws {PolicyError}
 */
export function compileInbound(workload: SpiffeId, policies: readonly unknown[]): InboundPolicy {
  // By name, so that of several rules that fit it is always the same one that is named.
  const rules = policies.map(parsePolicy).filter((policy) => selects(policy, workload)).flatMap(compileRules).sort((one, other) => (one.name < other.name ? -1 : 1));
  const selected = rules.some(({ action }) => action !== "audit");
  return { connection: (client, port) => connectionPolicy(rules.filter((rule) => isAbout(rule, client, port)), defaultFor(workload, selected, client)) };
}

/** Whether a policy selects a workload. */
export function selects(policy: Policy, workload: SpiffeId): boolean {
  let patterns = selecting.get(policy);
  if (patterns === undefined) selecting.set(policy, patterns = policy.workloads.map(idPattern));
  return matchesAnyId(patterns, workload);
}

/** The CA asks all policies for each proxy: their patterns are read once. */
const selecting = new WeakMap<Policy, readonly IdPattern[]>();

interface CompiledRule {
  /** `policy/rule`. */
  readonly name: string;
  readonly action: PolicyRule["action"];
  readonly everybody: boolean;
  readonly from: readonly IdPattern[];
  readonly ports: ReadonlySet<number> | undefined;
  readonly methods: ReadonlySet<string> | undefined;
  readonly paths: readonly PathPattern[] | undefined;
}

function compileRules({ name: policy, rules }: Policy): readonly CompiledRule[] {
  return rules.map(({ name, action, from, ports, methods, paths, grpc }, index) => ({
    name: `${policy}/${name ?? index + 1}`,
    action,
    everybody: from.includes("*"),
    from: from.filter((each) => each !== "*").map(idPattern),
    ports: ports && new Set(ports),
    // A gRPC call is a POST; what else goes to its path is not allowed by it, and is kept out with it.
    methods: grpc === undefined ? methods && new Set(methods) : action === "allow" ? new Set(["POST"]) : undefined,
    paths: (grpc?.map((each) => `/${each}`) ?? paths)?.map(pathPattern),
  }));
}

function isAbout({ everybody, from, ports }: CompiledRule, client: SpiffeId | undefined, port: number): boolean {
  if (ports !== undefined && !ports.has(port)) return false;
  return everybody || (client !== undefined && matchesAnyId(from, client));
}

function connectionPolicy(rules: readonly CompiledRule[], otherwise: PolicyDecision): ConnectionPolicy {
  const denies = rules.filter(({ action }) => action === "deny");
  const allows = rules.filter(({ action }) => action === "allow");
  const audits = rules.filter(({ action }) => action === "audit");

  function tcp(): PolicyDecision {
    const audit = audits.map(({ name }) => name);
    const denied = denies.find((rule) => !isAboutRequests(rule));
    if (denied !== undefined) return by(denied, "deny", "rule_denied", audit);
    if (denies[0] !== undefined) return by(denies[0], "deny", "not_http", audit);
    const allowed = allows.find((rule) => !isAboutRequests(rule));
    return allowed === undefined ? { ...otherwise, audit } : by(allowed, "allow", "rule_allowed", audit);
  }

  function http(method: string, target: string): PolicyDecision {
    const path = rules.some(({ paths }) => paths !== undefined) ? normalizePath(target) : undefined;
    const folded = path && foldPath(path);
    const audit = audits.filter((rule) => mayFit(rule, method, folded)).map(({ name }) => name);
    const denied = denies.find((rule) => mayFit(rule, method, folded));
    if (denied !== undefined) return by(denied, "deny", denied.paths !== undefined && path === undefined ? "path_ambiguous" : "rule_denied", audit);
    const allowed = allows.find((rule) => fits(rule, method, path));
    return allowed === undefined ? { ...otherwise, audit } : by(allowed, "allow", "rule_allowed", audit);
  }

  const opaque = tcp();
  return { settled: opaque.reason === "rule_denied" || !rules.some(isAboutRequests) ? opaque : undefined, tcp: opaque, http };
}

function isAboutRequests({ methods, paths }: CompiledRule): boolean {
  return methods !== undefined || paths !== undefined;
}

/** As an allow has to. */
function fits({ methods, paths }: CompiledRule, method: string, path: readonly string[] | undefined): boolean {
  if (methods !== undefined && !methods.has(method)) return false;
  return paths === undefined || (path !== undefined && paths.some((pattern) => matchesPath(pattern, path)));
}

/** As a deny does when it cannot rule out that a server would take the request for one that it is about. */
function mayFit({ methods, paths }: CompiledRule, method: string, folded: readonly string[] | undefined): boolean {
  const upper = method.toUpperCase();
  // HEAD runs the code of GET (RFC 9110 9.3.2).
  if (methods !== undefined && !methods.has(upper) && !(upper === "HEAD" && methods.has("GET"))) return false;
  return paths === undefined || folded === undefined || paths.some((pattern) => matchesFoldedPath(pattern, folded));
}

function by({ name }: CompiledRule, action: "allow" | "deny", reason: PolicyReason, audit: readonly string[]): PolicyDecision {
  return { action, rule: name, reason, audit };
}

function defaultFor(workload: SpiffeId, selected: boolean, client: SpiffeId | undefined): PolicyDecision {
  if (client === undefined) return { action: "deny", reason: "unauthenticated", audit: [] };
  if (selected) return { action: "deny", reason: "no_rule_allows", audit: [] };
  return client.trustDomain === workload.trustDomain ? { action: "allow", reason: "mesh_default", audit: [] } : { action: "deny", reason: "foreign", audit: [] };
}

/** `parsePolicy` has let it through, so it is one. */
function idPattern(text: string): IdPattern {
  const pattern = parseIdPattern(text);
  if (pattern === undefined) throw new PolicyError(`${text} is no pattern of SPIFFE IDs`);
  return pattern;
}

function pathPattern(text: string): PathPattern {
  const pattern = parsePathPattern(text);
  if (pattern === undefined) throw new PolicyError(`${text} is no path pattern`);
  return pattern;
}
