import type { NoteSigner } from "../audit/note-signer.ts";
import type { HubPublication } from "../contract/federation-hubs.ts";
import type { FederationRefresh } from "../contract/federation.ts";
import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import type { Fence } from "../store/rows/leases.ts";
import type { Store } from "../store/store.ts";
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
  /** Undefined while another replica does this. */
  readonly hold: () => Promise<Fence | undefined>;
  readonly store: Pick<Store, "report" | "reports">;
  readonly metrics: Pick<CaMetrics, "hubPublished">;
  readonly log: Log;
  readonly now: () => Date;
  readonly random?: () => number;
}

/** Puts this CA's bundle where those find it who subscribe to a hub. */
export interface HubPublisher {
  /** This CA's bundle as it is in a hub, signed; at most a minute ago. */
  document(): string;
  /** How the last publication went, whichever replica it was; undefined: there is no place. */
  publication(): Promise<HubPublication | undefined>;
  /** Publishes what changed, and once an hour what did not, so that it is known to be the newest. @returns whether there is nothing to do here */
  tick(): Promise<boolean>;
}

export function hubPublisher({ place, trustDomain, signer, feedEpoch, bundle, hold, store, metrics, log, now, random = Math.random }: HubPublisherDeps): HubPublisher {
  let signed: { readonly jwks: string; readonly atMs: number; readonly note: string } | undefined;
  let published: string | undefined;
  let dueAtMs = 0;
  let failures = 0;

  function document(): string {
    const { jwks } = bundle();
    const nowMs = now().getTime();
    if (signed?.jwks !== jwks || Math.abs(nowMs - signed.atMs) > signedForMs) {
      signed = { jwks, atMs: nowMs, note: signHubBundle({ trustDomain, feedEpoch, signedAtMs: nowMs, bundle: jwks }, signer) };
    }
    return signed.note;
  }

  async function publication(): Promise<HubPublication | undefined> {
    if (place === undefined) return undefined;
    const rows = await store.reports({ kind: "federation-hub", name: place.where, nowMs: now().getTime(), limit: 1 });
    const [row] = rows.filter(({ part }) => part === publicationPart);
    return { where: place.where, ...(row && { refresh: JSON.parse(row.body) as FederationRefresh }) };
  }

  async function publish({ where, put }: HubPlace): Promise<void> {
    const { jwks } = bundle();
    const attemptedAt = now().toISOString();
    let succeededAt = (await publication())?.refresh?.succeededAt;
    let trouble: string | undefined;
    try {
      await put(hubBundleFile(trustDomain), document(), { type: "text/plain; charset=utf-8", cacheControl });
      // For software that knows no hubs: a SPIFFE bundle endpoint (https_web).
      await put(`${trustDomain}.bundle.json`, jwks, { type: "application/json", cacheControl });
      metrics.hubPublished("ok");
      if (failures > 0) log.info({ hub: where }, "the bundle is published again");
      [published, failures, succeededAt] = [jwks, 0, attemptedAt];
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      failures += 1;
      metrics.hubPublished(code ?? "failed");
      if (failures === 1) log.warn({ err: error, hub: where }, "the bundle could not be published for the hub's other clusters, which keep the one before; tried again");
      trouble = message.slice(0, maxErrorLength);
    }
    const intervalMs = (failures === 0 ? everyMs : Math.min(firstBackoffMs * 2 ** Math.min(failures - 1, maxDoublings), maxBackoffMs)) * (1 - jitterPart * random());
    const nowMs = now().getTime();
    dueAtMs = nowMs + intervalMs;
    const status: FederationRefresh = { attemptedAt, ...(succeededAt !== undefined && { succeededAt }), failures, ...(trouble !== undefined && { error: trouble }), intervalSeconds: intervalMs / 1000 };
    await store.report({ kind: "federation-hub", name: where, part: publicationPart, body: JSON.stringify(status), reportedAtMs: nowMs, expiresAtMs: nowMs + statusRetentionMs });
  }

  return {
    document,
    publication,
    async tick() {
      if (place === undefined || await hold() === undefined) {
        published = undefined;
        return true;
      }
      const changed = published !== bundle().jwks && failures === 0;
      if (changed || now().getTime() >= dueAtMs) await publish(place);
      return false;
    },
  };
}

const publicationPart = "publication";
const signedForMs = 60_000;
const everyMs = 3_600_000;
const firstBackoffMs = 5_000;
const maxBackoffMs = 600_000;
const maxDoublings = 10;
const jitterPart = 0.2;
/** Caches in between keep it no longer than a subscriber waits. */
const cacheControl = "max-age=30";
const maxErrorLength = 500;
const statusRetentionMs = 90 * 24 * 3_600_000;
