import type { HeldBundle } from "../../ca/contract/acknowledgements.ts";
import type { TapNotice } from "../../ca/contract/taps.ts";
import type { RenewNotice } from "../../ca/contract/watch.ts";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { readFederation, type FederationTexts } from "../ca-answer.ts";
import type { CaClient } from "../ca-client.ts";
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { startAcknowledging } from "./acknowledge.ts";
import type { Random } from "./backoff.ts";
import { startBundlePolling, type BundlePollingStatus } from "./bundle-polling.ts";
import { startPolicyPolling, type HeldPolicy, type PolicyStatus } from "./policies.ts";
import { startRevocationPolling, type DenyList, type RevocationStatus } from "./revocations.ts";
import { isExpired, type Identity, type PolicyInForce } from "./source.ts";
import { startWatch, type Watch, type WatchStatus } from "./watch.ts";

/** What a restart goes on with. */
export interface FollowedList extends DenyList {
  readonly feedEpoch?: string | undefined;
  readonly lastEventId?: string | undefined;
}

/** The CA, and what is done with what it tells. */
export interface FollowDeps {
  readonly client: Pick<CaClient, "bundle" | "federatedBundles" | "revocations" | "watch" | "acknowledge" | "policy">;
  readonly trustDomain: string;
  readonly restored: FollowedList | undefined;
  readonly restoredPolicy: HeldPolicy | undefined;
  readonly onPolicyInForce: (policy: PolicyInForce) => void;
  /** Keeps it for a restart. */
  readonly onPolicyChanged: (held: HeldPolicy) => void;
  readonly revocationPollMs: number;
  readonly refreshHintSeconds: () => number | undefined;
  readonly refreshFiles: () => void;
  /** Takes a bundle of the own trust domain, also an older one after a restore. @throws when it is refused */
  readonly onBundle: (text: string, options: { readonly restored: boolean }) => void;
  /** Takes what is told of other trust domains. */
  readonly onFederation: (told: FederationTexts) => void;
  readonly onRevoked: (serialNumbers: ReadonlySet<string> | undefined) => void;
  readonly onComplete: (list: FollowedList) => void;
  readonly onTap: (notice: TapNotice) => void;
  /** Another certificate is wanted, within this time. */
  readonly onRenew: (withinMs: number) => void;
  /** Sequence of the own bundle in force, and the last identity. */
  readonly held: () => { readonly sequence: bigint | undefined; readonly identity: Identity | undefined };
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Times in milliseconds since the epoch. */
export interface FollowStatus {
  readonly bundle: BundlePollingStatus;
  readonly revocation: RevocationStatus;
  readonly policy: PolicyStatus;
  readonly watch: WatchStatus;
  readonly feedEpoch: string | undefined;
  /** Sequence of the bundle that the CA knows us to hold. */
  readonly acknowledgedSequence: string | undefined;
}

/** A running follower. */
export interface Following {
  status(): FollowStatus;
  /** What the CA calls the bundle in force; undefined while it has not said which feed it is of. */
  holds(): HeldBundle | undefined;
  /** There is a new certificate; `acknowledged` is what the CA took down with its request. */
  onIssued(acknowledged: HeldBundle | undefined): void;
  stop(): void;
}

/**
 * Follows what the CA tells, by its stream; while there is none, by asking. Both ways end in the same two hands: the bundle and the
 * deny-list are what they are, whichever way a piece of them came.
 */
export function followFeed(deps: FollowDeps): Following {
  const { restored, log, clock } = deps;
  const client: FollowDeps["client"] = {
    ...deps.client,
    revocations: (after) => deps.client.revocations(after, signer()),
    watch: (lastEventId, listener) => deps.client.watch(lastEventId, listener, signer()),
  };
  let feedEpoch = restored?.feedEpoch;
  let bundleIsRestored = false;
  let federationSequence = 0;
  let renewed = "";
  const notices = new Map<string, RenewNotice>();
  let watch: Watch | undefined;

  const revocation = startRevocationPolling({
    ...deps, client, intervalMs: deps.revocationPollMs, onEpoch, onRenew, isStreamed,
    onComplete: (list) => deps.onComplete({ ...list, feedEpoch, lastEventId: watch?.status().lastEventId ?? restored?.lastEventId }),
  });
  const bundle = startBundlePolling({
    ...deps, subject: "the trust bundle", refreshes: deps.metrics.counter("bundle_refreshes_total", "Looks for a new trust bundle, by result.", ["result"]), onBundle, onEpoch, isStreamed,
  });
  const federation = startBundlePolling({
    ...deps, subject: "the bundles of other trust domains", isStreamed,
    refreshes: deps.metrics.counter("federated_bundle_refreshes_total", "Looks for bundles of other trust domains, by result.", ["result"]),
    client: { bundle: (etag) => deps.client.federatedBundles(etag, signer()) }, onBundle: onFederation, refreshFiles: () => undefined, firstLookMs: firstFederationLookMs,
  });
  const policy = startPolicyPolling({ ...deps, restored: deps.restoredPolicy, identity: () => deps.held().identity, feedEpoch: () => feedEpoch, isStreamed, leastIntervalMs: deps.revocationPollMs });
  const acknowledging = startAcknowledging({
    ...deps,
    held() {
      const { identity } = deps.held();
      const bundleHeld = holds();
      return identity && bundleHeld && { ...bundleHeld, identity };
    },
  });
  watch = startWatch({
    ...deps, client, lastEventId: restored?.lastEventId, onEpoch, onRenew,
    onBundle: bundle.take,
    onRevocations: revocation.take,
    onAlive: revocation.heard,
    onPolicy: policy.heardOf,
    onFederation: federation.take,
    onBroken() {
      revocation.lookNow();
      bundle.lookNow();
      federation.lookNow();
      policy.lookNow();
    },
  });

  /** An expired certificate proves nothing; the feed is for strangers, too. */
  function signer(): Identity | undefined {
    const { identity } = deps.held();
    return identity !== undefined && !isExpired(identity, clock.now()) ? identity : undefined;
  }

  function isStreamed(): boolean {
    return watch?.status().liveSinceMs !== undefined;
  }

  /** Another epoch is a CA that came back from a backup: what it tells is not what it told, whatever its sequences say. */
  function onEpoch(told: string): void {
    if (told === feedEpoch) return;
    const before = feedEpoch;
    feedEpoch = told;
    if (before !== undefined) {
      log.warn({ before, feedEpoch }, "the CA was restored from a backup: its feed is read from the start, what was revoked stays so");
      bundleIsRestored = true;
      revocation.beginAnew();
      bundle.lookNow();
      federationSequence = 0;
      federation.lookNow();
      policy.beginAnew();
    }
    acknowledging.check();
  }

  function onBundle(text: string): void {
    deps.onBundle(text, { restored: bundleIsRestored });
    bundleIsRestored = false;
    acknowledging.check();
  }

  /** A replica may lag behind the one that told last: who was dropped must not come back by it. */
  function onFederation(text: string): void {
    const told = readFederation(text);
    if (told.sequence < federationSequence) return;
    federationSequence = told.sequence;
    deps.onFederation(told);
  }

  /** Also for certificates to come: one that was under way when the authority was tainted may be by it still. */
  function onRenew(notice: RenewNotice): void {
    notices.delete(notice.authorityId);
    notices.set(notice.authorityId, notice);
    const [oldest] = notices.size > maxNotices ? notices.keys() : [];
    if (oldest !== undefined) notices.delete(oldest);
    renewIfMeant(notice);
  }

  /** Polled answers say it again and again: once for each certificate is enough. */
  function renewIfMeant({ authorityId, windowSeconds }: RenewNotice): void {
    const { identity } = deps.held();
    if (identity === undefined || identity.serialNumber === renewed || !descendsFrom(identity, authorityId)) return;
    renewed = identity.serialNumber;
    log.warn({ authorityId, windowSeconds, serialNumber: identity.serialNumber }, "the CA wants certificates of this authority replaced");
    deps.onRenew(Math.min(windowSeconds * 1000, maxRenewWindowMs));
  }

  function holds(): HeldBundle | undefined {
    const { sequence } = deps.held();
    // After a restore the bundle held is not known to be one of this feed until it has told its own.
    if (feedEpoch === undefined || sequence === undefined || bundleIsRestored) return undefined;
    return { feedEpoch, bundleSequence: String(sequence) };
  }

  return {
    status: () => ({
      bundle: bundle.status(), revocation: revocation.status(), policy: policy.status(), watch: watch?.status() ?? noStream, feedEpoch,
      acknowledgedSequence: acknowledging.sequence(),
    }),
    holds,
    onIssued(acknowledged) {
      const { identity } = deps.held();
      if (acknowledged !== undefined && identity !== undefined) acknowledging.heard(identity.serialNumber, acknowledged);
      acknowledging.check();
      for (const notice of notices.values()) renewIfMeant(notice);
    },
    stop() {
      watch?.stop();
      acknowledging.stop();
      bundle.stop();
      federation.stop();
      policy.stop();
      revocation.stop();
    },
  };
}

/** Whether an authority vouches for a certificate: by itself, or for one that does. */
function descendsFrom({ chain }: Identity, authorityId: string): boolean {
  return chain.some((der) => {
    const { authorityKeyIdentifier } = parseCertificate(der);
    return authorityKeyIdentifier !== undefined && Buffer.from(authorityKeyIdentifier).toString("hex") === authorityId;
  });
}

/** Authorities tainted in one proxy's life. */
const maxNotices = 64;
/** Time for the stream to tell it. */
const firstFederationLookMs = 3000;
const noStream: WatchStatus = { liveSinceMs: undefined, lastEventId: undefined, lastError: undefined };
/** A day: longer than a certificate lives by default, so it is renewed before. */
const maxRenewWindowMs = 86_400_000;
