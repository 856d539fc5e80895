import type { CreateOperatorRequest, OperatorList, OperatorSummary } from "./contract/operators.ts";
import type { Role } from "./contract/roles.ts";
import type { Documents, DocumentSet, PresentDocument } from "./documents.ts";
import type { Caller } from "./http/services.ts";
import { PkiError } from "./pki/errors.ts";
import { parseSpiffeIdPattern, type SpiffeId } from "./pki/spiffe-id.ts";
import type { HasRole } from "./privilege.ts";
import { Refusal } from "./refusal.ts";
import { checkRoleScope, splitScope } from "./role-scope.ts";
import { notedUse } from "./store/noted-use.ts";
import type { ReportRow } from "./store/rows/reports.ts";
import type { Store } from "./store/store.ts";

export interface Operators {
  /** The caller that an ID is: with the role it is bound to, and otherwise a workload. */
  callerOf(id: SpiffeId): Promise<Caller>;
  /** Whether whoever has a certificate for this ID has a role: then only an admin vouches for the ID, or takes from it (`privilege.ts`). */
  readonly hasRole: HasRole;
  /** Says that the role bound to this ID was used just now; nobody waits for it. */
  noteUse(id: string): void;
  list(): Promise<OperatorList>;
  /** @throws {Refusal} spiffe_id_refused | dns_name_refused | invalid_request | operator_exists */
  add(request: CreateOperatorRequest, caller: Caller): Promise<OperatorSummary>;
  /** @throws {Refusal} not_found */
  remove(spiffeId: string, caller: Caller): Promise<void>;
}

export interface OperatorServiceDeps {
  readonly documents: Documents;
  readonly store: Pick<Store, "report" | "reports" | "dropReports">;
  readonly trustDomain: string;
  readonly now: () => Date;
}

/** Who operates by SVID: roles bound to SPIFFE IDs or all IDs below a prefix. Of several bindings the most specific one counts. */
export function operatorService({ documents, store, trustDomain, now }: OperatorServiceDeps): Operators {
  const compiled = new WeakMap<DocumentSet["byKind"]["operator"], Bindings>();

  function bindingsOf({ byKind: { operator } }: DocumentSet): Bindings {
    let bindings = compiled.get(operator);
    if (bindings === undefined) compiled.set(operator, bindings = compile(operator));
    return bindings;
  }

  const note = notedUse((name, usedAtMs) => store.report({ kind: useKind, name, part: "", body: "", reportedAtMs: usedAtMs, expiresAtMs: usedAtMs + useRetentionMs }));

  async function usesOf(): Promise<ReadonlyMap<string, number>> {
    const rows: readonly ReportRow[] = await store.reports({ kind: useKind, nowMs: now().getTime(), limit: maxOperators });
    return new Map(rows.map(({ name, reportedAtMs }) => [name, reportedAtMs]));
  }

  return {
    async callerOf(id) {
      const binding = match(bindingsOf(await documents.current()), id);
      const common = { actor: id.uri, name: id.uri, spiffeId: id.uri };
      if (binding === undefined) return { ...common, role: "workload", scope: [] };
      if (binding.role === "admin") return { ...common, role: "admin", scope: [`spiffe://${trustDomain}/*`] };
      return { ...common, role: binding.role, ...splitScope(binding.scope) };
    },
    hasRole(id) {
      const set = documents.current();
      return set instanceof Promise ? set.then((read) => match(bindingsOf(read), id) !== undefined) : match(bindingsOf(set), id) !== undefined;
    },
    noteUse(id) {
      const noteIn = (set: DocumentSet): void => {
        const binding = match(bindingsOf(set), { uri: id });
        if (binding !== undefined) void note(binding.spiffeId, now().getTime());
      };
      const set = documents.current();
      // Best effort: a lost note of use harms nobody.
      if (set instanceof Promise) set.then(noteIn).catch(() => undefined);
      else noteIn(set);
    },
    async list() {
      const [{ byKind: { operator } }, uses] = await Promise.all([documents.refresh(), usesOf()]);
      return { operators: [...operator.values()].sort((one, other) => (one.name < other.name ? -1 : 1)).map((each) => summarize(each, uses.get(each.name))) };
    },
    async add(request, caller) {
      const binding = readBinding(request, trustDomain);
      const { spiffeId: name } = binding;
      const { byKind } = await documents.change(({ byKind: { operator } }) => {
        if (operator.has(name)) {
          throw new Refusal("operator_exists", `${name} has a role already; remove it first, with DELETE /v1/operators?spiffeId=${name}.`);
        }
        if (operator.size >= maxOperators) throw new Refusal("invalid_request", `There are ${maxOperators} operators already; bind a role to a prefix ending in /* instead.`);
        return [{ kind: "operator", name, document: binding }];
      }, caller.actor);
      const added = byKind.operator.get(name);
      // Removed by somebody else in the instant between.
      if (added === undefined) throw notFound(name);
      return summarize(added);
    },
    async remove(spiffeId, caller) {
      await documents.change(({ byKind: { operator } }) => {
        if (!operator.has(spiffeId)) throw notFound(spiffeId);
        return [{ kind: "operator", name: spiffeId }];
      }, caller.actor);
      await store.dropReports([{ kind: useKind, name: spiffeId, part: "" }]);
    },
  };
}

/** As stored and logged. */
interface Binding {
  readonly spiffeId: string;
  readonly role: Role;
  readonly scope: readonly string[];
}

interface Bindings {
  readonly exact: ReadonlyMap<string, Binding>;
  /** Longest first, without their star. */
  readonly below: readonly (readonly [prefix: string, Binding])[];
}

function compile(operators: ReadonlyMap<string, PresentDocument>): Bindings {
  const all = [...operators.values()].map(({ body }) => JSON.parse(body) as Binding);
  const [prefixes, ids] = [all.filter(({ spiffeId }) => spiffeId.endsWith("/*")), all.filter(({ spiffeId }) => !spiffeId.endsWith("/*"))];
  return {
    exact: new Map(ids.map((binding) => [binding.spiffeId, binding])),
    below: prefixes.map((binding) => [binding.spiffeId.slice(0, -1), binding] as const).sort(([one], [other]) => other.length - one.length),
  };
}

function match({ exact, below }: Bindings, { uri }: Pick<SpiffeId, "uri">): Binding | undefined {
  return exact.get(uri) ?? below.find(([prefix]) => uri.startsWith(prefix))?.[1];
}

function readBinding({ spiffeId, role, scope = [] }: CreateOperatorRequest, trustDomain: string): Binding {
  try {
    const pattern = parseSpiffeIdPattern(spiffeId);
    if (pattern.trustDomain !== trustDomain) {
      throw new Refusal("spiffe_id_refused", `${spiffeId} is not of this CA's trust domain, ${trustDomain}: only its own certificates prove an operator.`);
    }
  } catch (cause) {
    if (cause instanceof PkiError) throw new Refusal("spiffe_id_refused", `The operator's ID is refused: ${cause.message}.`, { cause });
    throw cause;
  }
  if (role === "admin" && spiffeId.endsWith("/*")) {
    throw new Refusal("invalid_request", "The role admin is bound to single IDs: below a prefix there are soon more than anybody thought of.");
  }
  return { spiffeId, role, scope: checkRoleScope(trustDomain, role, scope) };
}

function summarize({ body, changedAtMs, changedBy }: PresentDocument, usedAtMs?: number): OperatorSummary {
  const { spiffeId, role, scope } = JSON.parse(body) as Binding;
  return {
    spiffeId, role, ...(scope.length > 0 && { scope }), createdAt: new Date(changedAtMs).toISOString(), createdBy: changedBy,
    // A replica may note a use of the binding before this one, which was taken back meanwhile.
    ...(usedAtMs !== undefined && usedAtMs >= changedAtMs && { lastUsedAt: new Date(usedAtMs).toISOString() }),
  };
}

function notFound(spiffeId: string): Refusal {
  return new Refusal("not_found", `No role is bound to ${spiffeId}; "countersign operator list" (GET /v1/operators) shows which are.`);
}

/** Each is looked at for an ID that none names exactly. */
const maxOperators = 1000;
const useKind = "operator-use";
/** Longer than anything that is judged by it. */
const useRetentionMs = 400 * 86_400_000;
