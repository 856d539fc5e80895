import type { ApplyRequest, ApplyResult, Changed, Policy, PolicyList, PolicySet } from "../contract/policies.ts";
import type { PolicyTest, PolicyTestResult } from "../contract/policy-decisions.ts";
import type { Service, ServiceList } from "../contract/services.ts";
import type { DocumentChange, Documents, DocumentSet, PresentDocument } from "../documents.ts";
import { PkiError } from "../pki/errors.ts";
import { parseSpiffeId, type SpiffeId } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";
import { compileInbound, decideInbound, selects } from "./decide.ts";
import { covers, parseIdPattern } from "./id-pattern.ts";
import { parsePolicy, parseService, PolicyError } from "./parse.ts";

/** Who changes policies. */
export interface PolicyCaller {
  readonly actor: string;
  readonly name: string;
  readonly role: string;
  /** SPIFFE ID patterns that an operator answers for. */
  readonly scope: readonly string[];
}

export interface Policies {
  /**
   * Adds or replaces what is named, all or nothing; durable and in the audit log when it resolves.
   * @throws {Refusal} policy_refused | forbidden | changed_meanwhile
   */
  apply(request: ApplyRequest, caller: PolicyCaller): Promise<ApplyResult>;
  /** @throws {Refusal} not_found | forbidden | changed_meanwhile */
  remove(kind: "policy" | "service", name: string, caller: PolicyCaller): Promise<void>;
  policies(): Promise<PolicyList>;
  services(): Promise<ServiceList>;
  /** @throws {Refusal} spiffe_id_refused | invalid_request */
  test(request: PolicyTest): Promise<PolicyTestResult>;
  /**
   * What concerns one workload: its sequence, and the set when it is wanted.
   * @param atLeast  a sequence its proxy has heard of
   */
  setFor(workload: SpiffeId, atLeast: number): Promise<{ readonly sequence: number; readonly read: () => PolicySet }>;
}

/** Policies and services: who may call whom, and who answers to a name. */
export function policyService({ documents, trustDomain }: { readonly documents: Documents; readonly trustDomain: string }): Policies {
  async function apply(request: ApplyRequest, caller: PolicyCaller): Promise<ApplyResult> {
    const wanted = refusing(() => [
      ...(request.policies ?? []).map((policy): WantedDocument => ({ kind: "policy", name: parsePolicy(policy).name, document: policy })),
      ...(request.services ?? []).map((service): WantedDocument => ({ kind: "service", name: serviceName(parseService(service)), document: service })),
    ]);
    if (new Set(wanted.map(titleOf)).size !== wanted.length) throw new Refusal("policy_refused", "Two policies or two services of the request have the same name.");
    let changes: readonly DocumentChange[] = [];
    const { sequence } = await documents.change((set) => {
      changes = wanted.filter(({ kind, name, document }) => set.byKind[kind].get(name)?.body !== JSON.stringify(document));
      for (const change of changes) {
        checkSelects(change, trustDomain);
        checkMayChange(caller, change, set);
      }
      checkSize(set, changes);
      checkShare(caller, set, changes);
      return changes;
    }, caller.actor);
    return { sequence, changed: changes.map(titleOf) };
  }

  return {
    apply,
    async remove(kind, name, caller) {
      await documents.change((set) => {
        if (!set.byKind[kind].has(name)) throw new Refusal("not_found", `There is no ${kind} ${name}; "countersign ${kind} list" (GET /v1/${kind === "policy" ? "policies" : "services"}) shows them.`);
        const change = { kind, name } as const;
        checkMayChange(caller, change, set);
        return [change];
      }, caller.actor);
    },
    async policies() {
      const { byKind, sequence } = await documents.refresh();
      return { sequence, policies: sorted(byKind.policy).map((row) => ({ ...(JSON.parse(row.body) as Policy), changed: changedOf(row) })) };
    },
    async services() {
      const { byKind, sequence } = await documents.refresh();
      return { sequence, services: sorted(byKind.service).map((row) => ({ ...(JSON.parse(row.body) as Service), changed: changedOf(row) })) };
    },
    async test({ from, to, port, method, path }) {
      const [client, server] = [workloadOf(from, "from"), workloadOf(to, "to")];
      if (server.trustDomain !== trustDomain) throw new Refusal("spiffe_id_refused", `to: ${to} is not of this CA's trust domain, ${trustDomain}: its own CA says who may call it, so ask that one.`);
      const { policies, sequence } = setOf(await documents.refresh(), server);
      const http = method === undefined && path === undefined ? undefined : { method: method ?? "GET", target: path ?? "/" };
      if (port === undefined && policies.some(({ rules }) => rules.some(({ ports }) => ports !== undefined))) {
        throw new Refusal("invalid_request", `port: rules about ${to} are about ports, so name the one that its app listens on.`);
      }
      const decision = decideInbound(compileInbound(server, policies), { client, port: port ?? 0, ...(http && { http }) });
      return { ...decision, sequence, policies: policies.map(({ name }) => name) };
    },
    async setFor(workload, atLeast) {
      const known = await documents.current();
      const set = known.sequence < atLeast ? await documents.refresh() : known;
      return { sequence: set.sequence, read: () => setOf(set, workload) };
    },
  };
}

type WantedDocument = DocumentChange & { readonly document: Policy | Service };

function setOf({ byKind, sequence }: DocumentSet, workload: SpiffeId): PolicySet {
  let policies = parsedPolicies.get(byKind.policy);
  if (policies === undefined) parsedPolicies.set(byKind.policy, policies = sorted(byKind.policy).map(({ body }) => parsePolicy(JSON.parse(body))));
  let services = parsedServices.get(byKind.service);
  if (services === undefined) parsedServices.set(byKind.service, services = sorted(byKind.service).map(({ body }) => JSON.parse(body) as Service));
  return { sequence, workload: workload.uri, policies: policies.filter((policy) => selects(policy, workload)), services };
}

/** A change sends every proxy here: each policy and service is read once for all of them. */
const parsedPolicies = new WeakMap<DocumentSet["byKind"]["policy"], readonly Policy[]>();
const parsedServices = new WeakMap<DocumentSet["byKind"]["service"], readonly Service[]>();

/**
 * An operator makes rules for the workloads it answers for, and for these alone; where policies reach beyond, and for the names of
 * services, which are everybody's, it takes an admin.
 */
function checkMayChange({ name: caller, role, scope }: PolicyCaller, change: DocumentChange, set: DocumentSet): void {
  if (role === "admin") return;
  const before = set.byKind[change.kind].get(change.name);
  const workloads = change.kind !== "policy" ? undefined
    : [before && (JSON.parse(before.body) as Policy), change.document as Policy | undefined].flatMap((policy) => policy?.workloads ?? []);
  const mine = scope.flatMap((pattern) => parseIdPattern(pattern) ?? []);
  const inScope = workloads?.every((text) => {
    const pattern = parseIdPattern(text);
    return pattern !== undefined && mine.some((outer) => covers(outer, pattern));
  });
  if (role === "operator" && inScope === true) return;
  throw new Refusal(
    "forbidden",
    change.kind === "policy"
      ? `The caller "${caller}" may not change the policy ${change.name}: it is about workloads outside its scope; ask an admin.`
      : `The caller "${caller}" may not change the service ${change.name}: names are everybody's, so an admin says who answers to them.`,
  );
}

/** By a slip of the pen here a workload would be left to the mesh default, which lets more in than the policy was to. */
function checkSelects({ kind, name, document }: DocumentChange, trustDomain: string): void {
  const workloads = kind === "policy" ? (document as Policy | undefined)?.workloads ?? [] : [];
  const foreign = workloads.find((text) => parseIdPattern(text)?.trustDomain !== trustDomain);
  if (foreign === undefined) return;
  throw new Refusal("policy_refused", `Refused, and nothing was changed: workloads of the policy ${name}: "${foreign}" is not of this CA's trust domain, ${trustDomain}, and only its own CA says who may call it.`);
}

/** Each proxy takes all of its part at once. */
function checkSize(set: DocumentSet, changes: readonly DocumentChange[]): void {
  const bodies = new Map([...set.byKind.policy, ...set.byKind.service].map(([, row]) => [titleOf(row), row.body]));
  for (const change of changes) bodies.set(titleOf(change), JSON.stringify(change.document));
  const length = [...bodies.values()].reduce((sum, body) => sum + body.length, 0);
  if (bodies.size <= maxDocuments && length <= maxTotalLength) return;
  throw new Refusal(
    "policy_refused",
    `With these there would be ${bodies.size} policies and services of ${length} characters; there may be ${maxDocuments} of ${maxTotalLength}. Remove some, or use patterns.`,
  );
}

/**
 * No operator takes the place of the others, and all operators together leave some to admins: theirs may be the rule that stops an
 * attack. What makes it no larger is always allowed.
 */
function checkShare({ actor, name, role }: PolicyCaller, set: DocumentSet, changes: readonly DocumentChange[]): void {
  if (role === "admin" || changes.length === 0) return;
  const before = [...set.byKind.policy.values(), ...set.byKind.service.values()];
  const changed = new Set(changes.map(titleOf));
  const others = before.filter((row) => !changed.has(titleOf(row)));
  const bodies = changes.map(({ document }) => JSON.stringify(document));
  const own = sizeOf([...others.filter(({ changedBy }) => changedBy === actor).map(({ body }) => body), ...bodies]);
  const all = sizeOf([...others.map(({ body }) => body), ...bodies]);
  const was = sizeOf(before.map(({ body }) => body));
  if (all.count <= was.count && all.length <= was.length) return;
  if (own.count > maxOfOperator || own.length > maxLengthOfOperator) {
    throw new Refusal(
      "policy_refused",
      `With these the caller "${name}" would have ${own.count} policies of ${own.length} characters; an operator may have ${maxOfOperator} of ` +
        `${maxLengthOfOperator}. Remove some, use patterns, or ask an admin to apply them.`,
    );
  }
  if (all.count <= maxDocuments - keptForAdmins && all.length <= maxTotalLength - lengthKeptForAdmins) return;
  throw new Refusal(
    "policy_refused",
    `There are ${was.count} policies and services of ${was.length} characters already; the last ${keptForAdmins}, and ${lengthKeptForAdmins} characters, ` +
      "are kept for admins. Remove some, use patterns, or ask an admin to apply these.",
  );
}

function sizeOf(bodies: readonly string[]): { readonly count: number; readonly length: number } {
  return { count: bodies.length, length: bodies.reduce((sum, body) => sum + body.length, 0) };
}

function sorted(rows: ReadonlyMap<string, PresentDocument>): readonly PresentDocument[] {
  return [...rows.values()].sort((one, other) => (one.name < other.name ? -1 : 1));
}

function changedOf({ sequence, changedAtMs, changedBy }: PresentDocument): Changed {
  return { sequence, changedAt: new Date(changedAtMs).toISOString(), changedBy };
}

/** A name on one port is a service of its own. */
function serviceName({ name, port }: Service): string {
  return port === undefined ? name : `${name}:${port}`;
}

function titleOf({ kind, name }: Pick<DocumentChange, "kind" | "name">): string {
  return `${kind} ${name}`;
}

function workloadOf(text: string, member: string): SpiffeId {
  try {
    return parseSpiffeId(text);
  } catch (cause) {
    if (cause instanceof PkiError) throw new Refusal("spiffe_id_refused", `${member}: ${cause.message}.`, { cause });
    throw cause;
  }
}

function refusing<Result>(act: () => Result): Result {
  try {
    return act();
  } catch (cause) {
    if (cause instanceof PolicyError) throw new Refusal("policy_refused", `Refused, and nothing was changed: ${cause.message}.`, { cause });
    throw cause;
  }
}

const maxDocuments = 1000;
/** What a proxy takes in at once, with room to spare (its answers end at 4 MiB). */
const maxTotalLength = 1024 * 1024;
/** Policies last changed by one operator: five may have a share each. */
const maxOfOperator = 180;
const maxLengthOfOperator = 180 * 1024;
const keptForAdmins = 100;
const lengthKeptForAdmins = 100 * 1024;
