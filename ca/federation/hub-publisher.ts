import type { NoteSigner } from "../audit/note-signer.ts";
import type { HeldBundle } from "../contract/acknowledgements.ts";
import type { HubPublication } from "../contract/federation-hubs.ts";
import type { FederationRefresh } from "../contract/federation.ts";
import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import type { Fence } from "../store/rows/leases.ts";
import type { Store } from "../store/store.ts";
import { hubHoldingsFile, signHubHoldings } from "./hub-holdings.ts";
import { hubLogFile, signHubLog, type HubLog } from "./hub-log.ts";
import { signHubBundle } from "./hub-notes.ts";
import { hubBundleFile } from "./plan-hub.ts";

/** A folder or a bucket. */
export interface HubPlace {
  readonly where: string;
  /** @throws {Error} whose `code` says why in a word */
  put(name: string, body: string, content: { readonly type: string; readonly cacheControl: string }): Promise<void>;
}

export interface HubPublisherDeps {
  readonly place: HubPlace | undefined;
  readonly trustDomain: string;
  readonly signer: NoteSigner;
  readonly feedEpoch: string;
  readonly bundle: () => { readonly jwks: string };
  /** Of others, by trust domain; given what was said last. */
  readonly holdings: (before: ReadonlyMap<string, HeldBundle>) => Promise<ReadonlyMap<string, HeldBundle>>;
  /** What is shown of this CA's log, undefined while there is nothing to show. */
  readonly shownLog: () => Promise<HubLog | undefined>;
  /** Undefined while another replica does this. */
  readonly hold: () => Promise<Fence | undefined>;
  readonly store: Pick<Store, "report" | "reports">;
  readonly metrics: Pick<CaMetrics, "hubPublished">;
  readonly log: Log;
  readonly now: () => Date;
  readonly random?: () => number;
}

/** Puts this CA's bundle, and which it has of theirs, where those find it who subscribe to a hub. */
export interface HubPublisher {
  /** This CA's bundle as it is in a hub, signed; at most a minute ago. */
  document(): string;
  /** Which bundles of others this CA has, as it says that in a hub, signed. */
  holdingsDocument(): Promise<string>;
  /** What this CA shows of its audit log in a hub, signed. */
  logDocument(): Promise<string | undefined>;
  /** How the last publication went, whichever replica it was; undefined: there is no place. */
  publication(): Promise<HubPublication | undefined>;
  /** Publishes what changed, and once an hour what did not, so that it is known to be the newest. @returns whether there is nothing to do here */
  tick(): Promise<boolean>;
}

/** Makes what publishes to a hub; what failed is tried again, ever more slowly, and what is in the place stays. */
export function hubPublisher({ place, trustDomain, signer, feedEpoch, bundle, holdings, shownLog, hold, store, metrics, log, now, random = Math.random }: HubPublisherDeps): HubPublisher {
  let signed: { readonly jwks: string; readonly atMs: number; readonly note: string } | undefined;
  let published: Partial<Documents> = {};
  let held: Documents["held"] = new Map();
  let dueAtMs = 0;
  let heldAgainMs = 0;
  let logAgainMs = 0;
  let failures = 0;

  function document(): string {
    const { jwks } = bundle();
    const nowMs = now().getTime();
    if (signed?.jwks !== jwks || Math.abs(nowMs - signed.atMs) > signedForMs) {
      signed = { jwks, atMs: nowMs, note: signHubBundle({ trustDomain, feedEpoch, signedAtMs: nowMs, bundle: jwks }, signer) };
    }
    return signed.note;
  }

  async function logDocument(): Promise<string | undefined> {
    const shown = await shownLog();
    return shown && signHubLog(shown, signer);
  }

  function signHeld(what: Documents["held"]): string {
    return signHubHoldings({ trustDomain, signedAtMs: now().getTime(), held: what }, signer);
  }

  async function publication(): Promise<HubPublication | undefined> {
    if (place === undefined) return undefined;
    const rows = await store.reports({ kind: "federation-hub", name: place.where, nowMs: now().getTime(), limit: 1 });
    const [row] = rows.filter(({ part }) => part === publicationPart);
    return { where: place.where, ...(row && { refresh: JSON.parse(row.body) as FederationRefresh }) };
  }

  async function publish({ where, put }: HubPlace, what: Partial<Documents>): Promise<void> {
    const attemptedAt = now().toISOString();
    let succeededAt = (await publication())?.refresh?.succeededAt;
    let trouble: string | undefined;
    try {
      if (what.jwks !== undefined) {
        await put(hubBundleFile(trustDomain), document(), { type: noteType, cacheControl });
        // For software that knows no hubs: a SPIFFE bundle endpoint (https_web).
        await put(`${trustDomain}.bundle.json`, what.jwks, { type: "application/json", cacheControl });
      }
      if (what.held !== undefined) await put(hubHoldingsFile(trustDomain), signHeld(what.held), { type: noteType, cacheControl });
      if (what.log !== undefined) await put(hubLogFile(trustDomain), what.log, { type: noteType, cacheControl });
      metrics.hubPublished("ok");
      if (failures > 0) log.info({ hub: where }, "the bundle is published again");
      published = { ...published, ...what };
      [failures, succeededAt] = [0, attemptedAt];
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      failures += 1;
      metrics.hubPublished(code ?? "failed");
      if (failures === 1) log.warn({ err: error, hub: where }, "the bundle could not be published for the hub's other clusters, which keep the one before; tried again");
      trouble = message.slice(0, maxErrorLength);
    }
    const nowMs = now().getTime();
    const intervalMs = (failures === 0 ? everyMs : Math.min(firstBackoffMs * 2 ** Math.min(failures - 1, maxDoublings), maxBackoffMs)) * (1 - jitterPart * random());
    // What was not put now is due as before.
    if (failures > 0 || (what.jwks !== undefined && what.held !== undefined)) dueAtMs = nowMs + intervalMs;
    if (what.held !== undefined) heldAgainMs = nowMs + heldEveryMs;
    if (what.log !== undefined) logAgainMs = nowMs + logEveryMs * (1 - jitterPart * random());
    const status: FederationRefresh = { attemptedAt, ...(succeededAt !== undefined && { succeededAt }), failures, ...(trouble !== undefined && { error: trouble }), intervalSeconds: intervalMs / 1000 };
    await store.report({ kind: "federation-hub", name: where, part: publicationPart, body: JSON.stringify(status), reportedAtMs: nowMs, expiresAtMs: nowMs + statusRetentionMs });
  }

  return {
    document, publication, logDocument,
    holdingsDocument: async () => signHeld(held = await holdings(held)),
    async tick() {
      if (place === undefined || await hold() === undefined) {
        published = {};
        return true;
      }
      const { jwks } = bundle();
      held = await holdings(held);
      const nowMs = now().getTime();
      const shown = nowMs >= logAgainMs && (failures === 0 || nowMs >= dueAtMs) ? await logDocument() : undefined;
      const withLog = shown !== undefined && { log: shown };
      if (nowMs >= dueAtMs) await publish(place, { jwks, held, ...withLog });
      else if (failures === 0) {
        const isHeldChanged = nowMs >= heldAgainMs && !isSame(published.held, held);
        const what = { ...(published.jwks !== jwks && { jwks }), ...(isHeldChanged && { held }), ...withLog };
        if (Object.keys(what).length > 0) await publish(place, what);
      }
      return false;
    },
  };
}

/** What is in the place by now. */
interface Documents {
  readonly jwks: string;
  readonly held: ReadonlyMap<string, HeldBundle>;
  readonly log: string;
}

function isSame(one: ReadonlyMap<string, HeldBundle> | undefined, other: ReadonlyMap<string, HeldBundle>): boolean {
  if (one?.size !== other.size) return false;
  return [...other].every(([name, { feedEpoch, bundleSequence }]) => one.get(name)?.feedEpoch === feedEpoch && one.get(name)?.bundleSequence === bundleSequence);
}

const publicationPart = "publication";
/** A note that is asked for again so soon is the same. */
const signedForMs = 60_000;
/** For readers refuse a note that is older than `maxHubNoteAgeMs`. */
const everyMs = 3_600_000;
const firstBackoffMs = 5_000;
const maxBackoffMs = 600_000;
const maxDoublings = 10;
const jitterPart = 0.2;
/** In a large fleet somebody's bundle changes often, and everybody has another one then. */
const heldEveryMs = 5_000;
/** Three of these lie between a checkpoint and its cosignature. */
const logEveryMs = 600_000;
const noteType = "text/plain; charset=utf-8";
/** Caches in between keep it no longer than a subscriber waits. */
const cacheControl = "max-age=30";
const maxErrorLength = 500;
const statusRetentionMs = 90 * 24 * 3_600_000;
