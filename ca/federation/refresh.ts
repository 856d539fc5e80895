import type { FederationRefresh } from "../contract/federation.ts";
import type { Documents, DocumentSet } from "../documents.ts";
import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import type { Fence } from "../store/rows/leases.ts";
import type { ReportRow } from "../store/rows/reports.ts";
import type { Store } from "../store/store.ts";
import { relationshipsOf, type HeldRelationship } from "./documents.ts";
import { FederationError } from "./errors.ts";
import { processBundle, requestBundle, type FetchTrust } from "./fetch-bundle.ts";
import { lane } from "./lane.ts";
import { peerApiUrl } from "./peer-api.ts";
import type { Begun } from "./rounds.ts";

export interface RefreshDeps {
  readonly documents: Documents;
  readonly store: Pick<Store, "report" | "reports">;
  /** Undefined while another replica does this. */
  readonly hold: () => Promise<Fence | undefined>;
  readonly trust: (relationships: ReadonlyMap<string, HeldRelationship>) => FetchTrust;
  /** Tells the publisher which of its bundles is held here. @throws {FederationError} */
  readonly acknowledge: (relationship: HeldRelationship) => Promise<void>;
  /** Has the publisher cosign our audit log. @throws {FederationError} */
  readonly submit: (relationship: HeldRelationship) => Promise<void>;
  /** Hears by a hub what else its member says there, each by itself; if asked to, also before it is due. @throws {FederationError} */
  readonly hear: readonly ((relationship: HeldRelationship, isAsked: boolean) => Promise<void>)[];
  /** Whether all that this publisher changes is told by a stream: then it is asked less often. */
  readonly isFollowed?: (trustDomain: string) => boolean;
  /** How long a bundle has been known here before it is acknowledged, in ms. */
  readonly settleMs: number;
  readonly metrics: Pick<CaMetrics, "federationRefreshed" | "federationHeld">;
  readonly log: Log;
  readonly now: () => Date;
  readonly random?: () => number;
}

/** Keeps the bundles of other trust domains up to date, on one replica at a time. */
export interface Refresher extends Begun {
  /** Begins to look for those that are due. @returns whether there is nothing to do here */
  tick(): Promise<boolean>;
  /** Looks for one sooner: within so many ms, at a random instant. */
  hasten(trustDomain: string, withinMs: number): void;
  /** Looks for one now, whichever replica this is. */
  refreshNow(trustDomain: string): Promise<void>;
  /** How the last look for each, or for one, went, whichever replica it was. */
  status(trustDomain?: string): Promise<ReadonlyMap<string, FederationRefresh>>;
}

/**
 * Polls at each publisher's hint, a little sooner and never at the same instant; after failures later and later (SPIFFE Federation 6.2).
 * What is refused or cannot be fetched changes nothing: the last good bundle stays, and the failure is on record. Those that failed the
 * last time have a lane of their own, so that however many of them never answer, none of the others waits for them.
 */
export function bundleRefresher(deps: RefreshDeps): Refresher {
  const { documents, store, metrics, log, now, random = Math.random } = deps;
  const due = new Map<string, number>();
  const succeededAt = new Map<string, number>();
  const lastError = new Map<string, string>();
  const failing = new Set<string>();
  /** Since their last look began: what it found may be what was there before. */
  const hastened = new Map<string, number>();
  const [wellLane, failingLane] = [lane(maxAtOnce, refreshInLane), lane(maxFailingAtOnce, refreshInLane)];
  let restored = false;
  let holding = false;

  async function tick(): Promise<boolean> {
    const relationships = relationshipsOf(await documents.current());
    for (const name of due.keys()) if (!relationships.has(name)) forget(name);
    holding = relationships.size > 0 && await deps.hold() !== undefined;
    if (!holding) {
      restored = false;
      return true;
    }
    if (!restored) await resume(relationships);
    restored = true;
    for (const name of relationships.keys()) metrics.federationHeld(name, ageOf(name));
    for (const name of relationships.keys()) {
      if (now().getTime() >= (due.get(name) ?? 0)) (failing.has(name) ? failingLane : wellLane).add(name);
    }
    return false;
  }

  async function refreshInLane(trustDomain: string): Promise<void> {
    try {
      // Its turn may have come late.
      if (holding && relationshipsOf(await documents.current()).has(trustDomain)) await refreshOne(trustDomain);
    } catch (err) {
      log.error({ err, trustDomain }, "looking for the bundle of another trust domain failed; tried again");
    }
  }

  function ageOf(trustDomain: string): number | undefined {
    const at = succeededAt.get(trustDomain);
    return at === undefined ? undefined : now().getTime() - at;
  }

  /** After a start, or another replica: those that were looked for lately wait for their turn, so that not all come at once. */
  async function resume(relationships: ReadonlyMap<string, HeldRelationship>): Promise<void> {
    for (const [name, { attemptedAt, succeededAt: at, intervalSeconds, failures }] of await status()) {
      if (!relationships.has(name)) continue;
      if (failures > 0) failing.add(name);
      if (at !== undefined) succeededAt.set(name, Date.parse(at));
      due.set(name, Math.min(Date.parse(attemptedAt), now().getTime()) + intervalSeconds * 1000);
    }
  }

  async function refreshOne(trustDomain: string, isAsked = false): Promise<void> {
    hastened.delete(trustDomain);
    const before = (await status(trustDomain)).get(trustDomain);
    const attemptedAt = now().toISOString();
    try {
      const relationship = await fetchOne(trustDomain);
      succeededAt.set(trustDomain, now().getTime());
      const intervalMs = intervalOf(relationship);
      await record(trustDomain, { attemptedAt, succeededAt: now().toISOString(), failures: 0, ...(deps.isFollowed?.(trustDomain) === true && { followed: true }), intervalSeconds: intervalMs / 1000 });
      metrics.federationRefreshed(trustDomain, "ok");
      if (lastError.delete(trustDomain)) log.info({ trustDomain }, "the bundle of another trust domain is refreshed again");
    } catch (error) {
      if (!(error instanceof FederationError)) throw error;
      const failures = (before?.failures ?? 0) + 1;
      const { held, hub } = relationshipsOf(await documents.current()).get(trustDomain) ?? {};
      // Who was admitted to a hub before it published there is soon to do so.
      const hintMs = held === undefined && hub !== undefined ? firstOfHubMs : hintOf(held);
      const intervalMs = Math.min(hintMs * 2 ** Math.min(failures - 1, maxDoublings), Math.max(maxBackoffMs, hintMs)) * jitter();
      await record(trustDomain, {
        attemptedAt, ...(before?.succeededAt !== undefined && { succeededAt: before.succeededAt }), failures, error: error.message.slice(0, maxErrorLength), intervalSeconds: intervalMs / 1000,
      });
      metrics.federationRefreshed(trustDomain, error.code);
      if (lastError.get(trustDomain) !== error.message) log.warn({ err: error, trustDomain }, "the bundle of another trust domain is not refreshed; the last good one stays");
      lastError.set(trustDomain, error.message);
    }
    await hearOf(trustDomain, isAsked);
  }

  /** Also where its bundle is not to be had: that it is silent, too, is to be known. */
  async function hearOf(trustDomain: string, isAsked: boolean): Promise<void> {
    for (const hear of deps.hear) {
      const relationship = relationshipsOf(await documents.current()).get(trustDomain);
      try {
        if (relationship !== undefined) await hear(relationship, isAsked);
      } catch (error) {
        if (!(error instanceof FederationError)) throw error;
        log.info({ err: error, trustDomain }, "what another trust domain's CA says in the hub is not taken; looked for again with its bundle");
      }
    }
  }

  /** Fetches, keeps and acknowledges. @throws {FederationError} */
  async function fetchOne(trustDomain: string): Promise<HeldRelationship> {
    const relationships = relationshipsOf(await documents.refresh());
    const relationship = relationships.get(trustDomain);
    if (relationship === undefined) throw new FederationError("endpoint_answer", `${trustDomain} is not federated with any more`);
    const answer = await requestBundle(relationship, deps.trust(relationships));
    let after: DocumentSet = await documents.current();
    // Decided inside: it may have been removed, or replaced by an operator, while we asked.
    let refusal: unknown;
    after = await documents.change((set) => {
      refusal = undefined;
      const current = relationshipsOf(set).get(trustDomain);
      if (current === undefined || current.endpointUrl !== relationship.endpointUrl) return [];
      try {
        const stored = processBundle(current, current.held, answer, now().getTime());
        return stored === undefined ? [] : [{ kind: "foreign-bundle", name: trustDomain, document: stored }];
      } catch (error) {
        refusal = error;
        return [];
      }
    }, "system");
    if (refusal !== undefined) throw refusal;
    const current = relationshipsOf(after).get(trustDomain);
    if (current === undefined) throw new FederationError("endpoint_answer", `${trustDomain} is not federated with any more`);
    const isPeer = peerApiUrl(current) !== undefined;
    if (isPeer && unsettledMs(current) <= 0) {
      // The bundle is good all the same; who waits for the acknowledgement waits on, and it comes with the next look.
      await deps.acknowledge(current).catch((err: unknown) => log.warn({ err, trustDomain }, "the bundle of another trust domain could not be acknowledged; its next root waits for that"));
    }
    if (isPeer) {
      await deps.submit(current).catch((err: unknown) => log.warn({ err, trustDomain }, "the audit log was not cosigned by another trust domain's CA; asked again with the next look"));
    }
    return current;
  }

  /** Proxies without a stream have to have it too before we say that we do. */
  function unsettledMs({ held }: HeldRelationship): number {
    return held === undefined ? 0 : held.changedAtMs + deps.settleMs - now().getTime();
  }

  function intervalOf(relationship: HeldRelationship): number {
    const untilSettledMs = peerApiUrl(relationship) === undefined ? 0 : unsettledMs(relationship);
    const hintMs = hintOf(relationship.held);
    const regularMs = (deps.isFollowed?.(relationship.trustDomain) === true ? Math.min(hintMs * followedPart, Math.max(hintMs, maxFollowedIntervalMs)) : hintMs) * jitter();
    return untilSettledMs > 0 ? Math.min(regularMs, untilSettledMs + settleSlackMs) : regularMs;
  }

  /** Sooner than the hint, never later: at a hint of a minute, what changed is known within the minute. */
  function jitter(): number {
    return 1 - jitterPart * random();
  }

  async function record(trustDomain: string, status: FederationRefresh): Promise<void> {
    const nowMs = now().getTime();
    due.set(trustDomain, Math.min(nowMs + status.intervalSeconds * 1000, hastened.get(trustDomain) ?? Infinity));
    if (status.failures > 0) failing.add(trustDomain);
    else failing.delete(trustDomain);
    await store.report({ kind: "federation", name: trustDomain, part: "", body: JSON.stringify(status), reportedAtMs: nowMs, expiresAtMs: nowMs + statusRetentionMs });
  }

  async function status(trustDomain?: string): Promise<ReadonlyMap<string, FederationRefresh>> {
    const all = new Map<string, FederationRefresh>();
    for (let after: ReportRow | undefined; ;) {
      const rows = await store.reports({ kind: "federation", ...(trustDomain !== undefined && { name: trustDomain }), nowMs: now().getTime(), limit: pageRows, ...(after && { after }) });
      for (const row of rows) all.set(row.name, JSON.parse(row.body) as FederationRefresh);
      after = rows.at(-1);
      if (rows.length < pageRows) return all;
    }
  }

  function forget(trustDomain: string): void {
    due.delete(trustDomain);
    lastError.delete(trustDomain);
    succeededAt.delete(trustDomain);
    failing.delete(trustDomain);
    hastened.delete(trustDomain);
    metrics.federationHeld(trustDomain, undefined);
  }

  function hasten(trustDomain: string, withinMs: number): void {
    const dueMs = now().getTime() + withinMs * random();
    hastened.set(trustDomain, dueMs);
    due.set(trustDomain, Math.min(due.get(trustDomain) ?? 0, dueMs));
  }

  return {
    tick, hasten, refreshNow: (trustDomain) => refreshOne(trustDomain, true), status,
    async settled() {
      await Promise.all([wellLane.idle(), failingLane.idle()]);
    },
    stop() {
      holding = false;
    },
  };
}

function hintOf(held: HeldRelationship["held"]): number {
  return Math.min(Math.max((held?.refreshHintSeconds ?? defaultHintSeconds) * 1000, minIntervalMs), maxIntervalMs);
}

/** SPIFFE Trust Domain and Bundle 4.1.3. */
const defaultHintSeconds = 300;
const firstOfHubMs = 60_000;
const minIntervalMs = 1_000;
/** How much less often who is followed by a stream is asked: acknowledgements and cosignatures go with each look, too. */
const followedPart = 4;
/** Below what `countersign check` calls stale. */
const maxFollowedIntervalMs = 240_000;
const maxIntervalMs = 3_600_000;
/** Where failures do not make it later than the hint already does. */
const maxBackoffMs = 600_000;
const maxDoublings = 10;
const jitterPart = 0.2;
const settleSlackMs = 100;
/** How many endpoints are asked at once. Of a thousand of which half stop to answer, the others wait for two minutes once. */
const maxAtOnce = 32;
const maxFailingAtOnce = 16;
const pageRows = 500;
const maxErrorLength = 500;
/** Whoever wants to know what happened to a peer that vanished has this long. */
const statusRetentionMs = 90 * 24 * 3_600_000;
