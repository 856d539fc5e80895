import type { HubSummary } from "../contract/federation-hubs.ts";
import type { FederationRefresh } from "../contract/federation.ts";
import type { Documents } from "../documents.ts";
import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import { Refusal } from "../refusal.ts";
import type { Fence } from "../store/rows/leases.ts";
import type { ReportRow } from "../store/rows/reports.ts";
import type { Store } from "../store/store.ts";
import type { StoredHub } from "./documents.ts";
import { askEndpoint } from "./endpoint.ts";
import { FederationError } from "./errors.ts";
import { membersFile, readHubMembers, trustDomainOfKey } from "./hub-notes.ts";
import { hubName, parseHubText } from "./hub-text.ts";
import { hubsOf, isEnded, planHub, storedHub, type HeldHub, type HubPlan } from "./plan-hub.ts";

export interface HubsDeps {
  readonly documents: Documents;
  readonly store: Pick<Store, "report" | "reports">;
  /** Undefined while another replica does this. */
  readonly hold: () => Promise<Fence | undefined>;
  readonly trustDomain: string;
  /** C2SP verifier key of this CA in hubs. */
  readonly hubKey: string;
  readonly webRoots: readonly string[] | undefined;
  readonly metrics: Pick<CaMetrics, "hubRead" | "hubListed">;
  readonly log: Log;
  readonly now: () => Date;
  readonly random?: () => number;
}

/** Hubs: lists of trust domains that their owner signs, with all of which this CA is federated. */
export interface Hubs {
  /**
   * Durable and in the audit log when it resolves; the list is looked for at once, and what keeps it from being had is in the answer.
   * @throws {Refusal} federation_refused | federation_exists | changed_meanwhile
   */
  subscribe(text: string, caller: { readonly actor: string }): Promise<HubSummary>;
  /** Nobody that came by this hub is believed from now on. @throws {Refusal} not_found | changed_meanwhile */
  unsubscribe(name: string, caller: { readonly actor: string }): Promise<void>;
  hubs(): Promise<readonly HubSummary[]>;
  /** Looks for the lists that are due. @returns whether there is nothing to do here */
  tick(): Promise<boolean>;
}

/** Reads each hub's list again and again, later and later after failures. What cannot be read, or is not by the hub's key, changes nothing. */
export function hubService(deps: HubsDeps): Hubs {
  const { documents, store, trustDomain: own, metrics, log, now, random = Math.random } = deps;
  const due = new Map<string, number>();
  const lastError = new Map<string, string>();
  const etags = new Map<string, string>();

  async function look(hub: Pick<HeldHub, "name" | "url" | "key">): Promise<void> {
    const { name } = hub;
    const before = (await statuses()).get(name);
    const attemptedAt = now().toISOString();
    try {
      const seen = await read(hub) ?? sightOf(before);
      await record(name, { attemptedAt, succeededAt: now().toISOString(), failures: 0, intervalSeconds: intervalMs * jitter() / 1000, ...seen });
      metrics.hubRead(name, "ok", 0);
      if (lastError.delete(name)) log.info({ hub: name }, "the hub's list is read again");
    } catch (error) {
      if (!(error instanceof FederationError)) throw error;
      const failures = (before?.failures ?? 0) + 1;
      const backoffMs = Math.min(intervalMs * 2 ** Math.min(failures - 1, maxDoublings), maxBackoffMs) * jitter();
      await record(name, {
        attemptedAt, ...(before?.succeededAt !== undefined && { succeededAt: before.succeededAt }), ...sightOf(before), failures,
        error: error.message.slice(0, maxErrorLength), intervalSeconds: backoffMs / 1000,
      });
      metrics.hubRead(name, error.code, before?.succeededAt === undefined ? undefined : now().getTime() - Date.parse(before.succeededAt));
      if (lastError.get(name) !== error.message) log.warn({ err: error, hub: name }, "the hub's list is not taken; who came by it stays");
      lastError.set(name, error.message);
    }
  }

  /** @returns undefined when the list is the one that was read before */
  async function read({ name, url, key }: Pick<HeldHub, "name" | "url" | "key">): Promise<Sight | undefined> {
    const etag = etags.get(name);
    const { status, text, etag: next } = await askEndpoint({ method: "GET", url: new URL(membersFile, url), proof: { profile: "https_web", roots: deps.webRoots }, ...(etag !== undefined && { headers: { "if-none-match": etag } }) });
    if (status === 304 && etag !== undefined) return undefined;
    if (status !== 200) throw new FederationError("endpoint_answer", `the hub answered with status ${status}, and no list of its members`, { status });
    const members = readHubMembers(text, key);
    let plan: HubPlan | undefined;
    // Each that is added, changed or removed has an entry of its own in the audit log, and the list it came by one beside it.
    await documents.change((set) => (plan = planHub(set, { own, name, members, nowMs: now().getTime() })).changes, `federation-hub:${name}`);
    if (next === undefined) etags.delete(name);
    else etags.set(name, next);
    const inIt = members.keys.find((each) => trustDomainOfKey(each) === own);
    return { own: inIt === undefined ? "absent" : inIt === deps.hubKey ? "listed" : "other-key", kept: plan?.kept.slice(0, maxKeptNames) ?? [] };
  }

  /** A list that has ended vouches for nobody: who came by it is dropped until there is one that does, also while none can be read. */
  async function end(name: string): Promise<void> {
    let gone = 0;
    await documents.change((set) => {
      const hub = hubsOf(set).get(name);
      const nowMs = now().getTime();
      const { changes } = hub !== undefined && isEnded(hub, nowMs) ? planHub(set, { own, name, members: undefined, nowMs }) : { changes: [] };
      gone = changes.length;
      return changes;
    }, `federation-hub:${name}`);
    if (gone > 0) log.error({ hub: name }, "the hub's list has ended and there is no newer one: nobody that came by it is believed any more");
    // What was there before is no news, and is read all the same.
    etags.delete(name);
  }

  /** Sooner than the interval, never later. */
  function jitter(): number {
    return 1 - jitterPart * random();
  }

  async function record(name: string, status: HubStatus): Promise<void> {
    const nowMs = now().getTime();
    due.set(name, nowMs + status.intervalSeconds * 1000);
    await store.report({ kind: "federation-hub", name, part: "list", body: JSON.stringify(status), reportedAtMs: nowMs, expiresAtMs: nowMs + statusRetentionMs });
  }

  async function statuses(): Promise<ReadonlyMap<string, HubStatus>> {
    const rows: readonly ReportRow[] = await store.reports({ kind: "federation-hub", nowMs: now().getTime(), limit: maxHubs + 1 });
    return new Map(rows.filter(({ part }) => part === "list").map(({ name, body }) => [name, JSON.parse(body) as HubStatus]));
  }

  async function summaries(): Promise<readonly HubSummary[]> {
    const [set, known] = await Promise.all([documents.refresh(), statuses()]);
    return [...hubsOf(set).values()].map((hub) => summarize(hub, known.get(hub.name)));
  }

  return {
    async subscribe(text, { actor }) {
      const { url, key } = parseHubText(text);
      const name = hubName(key);
      await documents.change((set) => {
        const hubs = hubsOf(set);
        const known = hubs.get(name);
        if (known !== undefined && (known.url !== url || known.key !== key)) {
          throw new Refusal("federation_exists", `This CA subscribes to another hub ${name} already, at ${known.url}; unsubscribe from that one first, which ends federation with its members.`);
        }
        if (known !== undefined && known.excluded === undefined) return [];
        if (known === undefined && hubs.size >= maxHubs) throw new Refusal("federation_refused", `Refused, and nothing was changed: there are ${maxHubs} hubs already.`);
        const { excluded: _, ...document }: StoredHub = known === undefined ? { url, key } : storedHub(known, {});
        return [{ kind: "federation-hub", name, document }];
      }, actor);
      etags.delete(name);
      await look({ name, url, key });
      return (await summaries()).find((one) => one.name === name)!;
    },
    async unsubscribe(name, { actor }) {
      await documents.change((set) => {
        if (!hubsOf(set).has(name)) throw new Refusal("not_found", `This CA subscribes to no hub ${name}; "countersign federation hubs" (GET /v1/hubs) shows them.`);
        return [...planHub(set, { own, name, members: undefined, nowMs: now().getTime() }).changes, { kind: "federation-hub", name }];
      }, actor);
    },
    hubs: summaries,
    async tick() {
      const hubs = hubsOf(await documents.current());
      for (const name of due.keys()) if (!hubs.has(name)) forget(name);
      if (hubs.size === 0 || await deps.hold() === undefined) return true;
      for (const hub of hubs.values()) {
        if (!due.has(hub.name)) await resume(hub.name);
        if (now().getTime() >= (due.get(hub.name) ?? 0)) await look(hub);
        if (isEnded(hub, now().getTime())) await end(hub.name);
        metrics.hubListed(hub.name, instant(hub.list?.signedAt), instant(hub.list?.validUntil));
      }
      return false;
    },
  };

  /** After a start, or another replica: one that was looked at lately waits for its turn. */
  async function resume(name: string): Promise<void> {
    const status = (await statuses()).get(name);
    due.set(name, status === undefined ? 0 : Math.min(Date.parse(status.attemptedAt), now().getTime()) + status.intervalSeconds * 1000);
  }

  function forget(name: string): void {
    for (const map of [due, lastError, etags]) map.delete(name);
    metrics.hubRead(name, undefined, undefined);
    metrics.hubListed(name, undefined, undefined);
  }
}

function summarize({ addedAtMs, addedBy, name, url, key, list, excluded }: HeldHub, status: HubStatus | undefined): HubSummary {
  const { own, kept, ...refresh } = status ?? {};
  return {
    name, url, key, addedAt: new Date(addedAtMs).toISOString(), addedBy, ...(list && { list }), ...(excluded && { excluded }),
    ...(kept !== undefined && kept.length > 0 && { kept }), ...(own !== undefined && { own }), ...(status !== undefined && { refresh: refresh as FederationRefresh }),
  };
}

function instant(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Date.parse(text);
}

function sightOf(status: HubStatus | undefined): Sight {
  return { ...(status?.own !== undefined && { own: status.own }), ...(status?.kept !== undefined && { kept: status.kept }) };
}

/** How a list has us, and who else of it is known here. */
type Sight = Pick<HubSummary, "own" | "kept">;
type HubStatus = FederationRefresh & Sight;

const intervalMs = 60_000;
const maxBackoffMs = 600_000;
const maxDoublings = 10;
const jitterPart = 0.2;
const maxHubs = 16;
const maxErrorLength = 500;
const maxKeptNames = 20;
const statusRetentionMs = 90 * 24 * 3_600_000;
