import type { HeldBundle } from "../../ca/contract/acknowledgements.ts";
import type { Bundle } from "../../ca/pki/bundle.ts";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { verifySvid } from "../../ca/pki/svid.ts";
import type { FederationTexts } from "../ca-answer.ts";
import { caClient } from "../ca-client.ts";
import { evidenceOf } from "../attest/evidence.ts";
import type { Clock } from "../clock.ts";
import type { Edge } from "../edges.ts";
import type { Exchanges } from "../exchanges.ts";
import type { ProxyConfig } from "../config/config.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { startReporting } from "../reporting.ts";
import { remoteTaps } from "../tap/remote.ts";
import { refused } from "../config/sources.ts";
import type { Accepted } from "./accept.ts";
import type { Random } from "./backoff.ts";
import { mergeFederation, mergeOwnBundle, sameBundles, type HeldBundles, type MergedBundles } from "./bundles.ts";
import { followFeed, type FollowedList, type Following, type FollowStatus } from "./follow.ts";
import { foreignBundles } from "./foreign-bundles.ts";
import { exposeGauges } from "./gauges.ts";
import { keptIn, type Origin } from "./kept.ts";
import { openKeystore } from "./keystore.ts";
import type { HeldPolicy } from "./policies.ts";
import { restoreRequest } from "./request.ts";
import { hashBootstrap, hashPlatform, resume } from "./resume.ts";
import { startRotation, type RotationStatus } from "./rotate.ts";
import { isExpired, type Identity, type IdentityHolder } from "./source.ts";

/** What the identity half is given; it writes `holder`. */
export interface IdentityDeps {
  readonly config: ProxyConfig;
  readonly holder: IdentityHolder;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** What passes, for the CA; undefined: it is not told. */
  readonly traffic?: Traffic;
}

/** Who talks to whom, and what they ask. */
export interface Traffic {
  readonly edges: () => readonly Edge[];
  readonly exchanges: Exchanges;
}

/** For `/readyz`, `/identity` and the metrics; holds no key and no token. */
export interface IdentityStatus {
  readonly trustDomain: string;
  readonly caUrl: string;
  /** The last identity, also when it has expired. */
  readonly last: Identity | undefined;
  readonly rotation: RotationStatus;
  /** Undefined before the first bundle, as is `revocation`. */
  readonly bundle: FollowStatus["bundle"] | undefined;
  readonly revocation: FollowStatus["revocation"] | undefined;
  readonly policy: FollowStatus["policy"] | undefined;
  /** How the CA is followed. */
  readonly feed: Omit<FollowStatus, "bundle" | "revocation" | "policy"> | undefined;
  /** Why the state directory does not hold the present identity. */
  readonly keystoreError: string | undefined;
}

/** The running identity half: keeps `holder` up to date until it is stopped. */
export interface IdentityKeeper {
  status(): IdentityStatus;
  /** Why no traffic can be served; undefined when it can. */
  unready(): string | undefined;
  /** A token of this identity for these audiences. @throws {CaError} */
  issueJwtSvid(audience: readonly string[], identity: Identity): Promise<string>;
  stop(): void;
}

/**
 * Puts the identity half together: resumes what is stored, asks for the first certificate, rotates, follows bundles and
 * revocations.
 * @throws {ConfigError} value_refused
 * @throws {KeystoreError}
 */
export function startIdentity({ config, holder, clock, random, log, metrics, traffic }: IdentityDeps): IdentityKeeper {
  const { bootstrap, platform } = config;
  const keystore = config.stateDir === undefined ? undefined : openKeystore(config.stateDir);
  const stored = keystore?.load();
  const resumed = stored && resume(stored, platform ? hashPlatform(platform) : bootstrap && hashBootstrap(bootstrap), clock.now());
  if (stored !== undefined && resumed === undefined) {
    log.info({ stateDir: config.stateDir }, "another bootstrap string or platform than the stored identity came from: starting anew");
  }
  const origin = originOf(config, resumed && stored);
  const kept = keptIn(keystore, origin, log);
  const { trustDomain } = origin;
  const rootFingerprints = platform?.rootFingerprints ?? (bootstrap === undefined ? [] : [bootstrap.rootFingerprint]);
  if (config.foreignBundles.has(trustDomain)) {
    throw refused("foreignBundle", trustDomain, "it is our own trust domain, whose bundle comes from the CA");
  }

  const files = foreignBundles({ files: config.foreignBundles, map: config.foreignBundleMap, own: trustDomain }, log);
  let held: HeldBundles = resumed?.bundles ?? new Map();
  let last = resumed?.identity;
  let published: ReadonlyMap<string, Bundle> | undefined;
  let revoked: ReadonlySet<string> = new Set();
  let following: Following | undefined;
  let stopReporting: (() => void) | undefined;

  const client = caClient({
    caUrl: origin.caUrl, trustDomain, rootFingerprints, byWebRoots: config.caByWebRoots, now: clock.now,
    ownBundle: () => held.get(trustDomain)?.bundle, revoked: () => revoked,
  });

  const taps = traffic && config.remoteTap === "on" ? remoteTaps({ client, trustDomain, identity: holder.identity, exchanges: traffic.exchanges, clock, log }) : undefined;

  function publish(): void {
    const bundles = new Map([...held, ...files.held()].map(([name, { bundle }]) => [name, bundle] as const));
    const before = published;
    const changed = [...bundles].filter(([name, bundle]) => before?.get(name) !== bundle);
    const dropped = [...before?.keys() ?? []].filter((name) => !bundles.has(name));
    if (changed.length === 0 && dropped.length === 0) return;
    published = bundles;
    holder.setBundles(trustDomain, bundles);
    // What changed alone: there may be a thousand.
    const shown = changed.map(([name, { sequence, x509Authorities }]) => ({ trustDomain: name, sequence, authorities: x509Authorities.length }));
    log.info({ bundles: shown, ...(dropped.length > 0 && { dropped }), inForce: bundles.size }, "trust bundles in force");
  }

  function take({ held: merged, refused: refusals }: MergedBundles): void {
    for (const refusal of refusals) log.warn(refusal, "bundle refused; the last good one of that trust domain stays in force");
    held = merged;
    publish();
  }

  function save(): void {
    if (last !== undefined) kept.identity(last, held);
  }

  /** Nobody is let in, and we go nowhere, before it is known who must be refused. */
  function serve(): void {
    if (holder.trust() !== undefined && last !== undefined && !isExpired(last, clock.now())) holder.setIdentity(last);
  }

  function onRevoked(serialNumbers: ReadonlySet<string> | undefined): void {
    const before = revoked;
    revoked = serialNumbers ?? revoked;
    holder.setRevoked(serialNumbers);
    serve();
    const identity = last;
    if (identity === undefined) return;
    const { serialNumber } = identity;
    const authority = identity.chain.slice(1).map(parseCertificate).find((one) => revoked.has(one.serialNumber))?.serialNumber;
    if (authority !== undefined) {
      log.warn({ authority, serialNumber }, "the authority that our certificate is from is revoked; asking for another one now");
    } else if (platform !== undefined && revoked.has(serialNumber) && !before.has(serialNumber)) {
      // With a join token it would be for nothing: whoever revoked the certificate will not give us the next one.
      log.warn({ serialNumber }, "our certificate is revoked; attesting anew");
    } else return;
    // A list that was kept is told of before there is a rotation.
    queueMicrotask(() => rotation.renewNow());
  }

  /** From the first bundle on: before, the CA could only be asked by somebody with a token. */
  function followCa(restored?: FollowedList, restoredPolicy?: HeldPolicy): void {
    following ??= followFeed({
      client, trustDomain, restored, restoredPolicy, onPolicyInForce: holder.setPolicy, onPolicyChanged: kept.policy, clock, random, log, metrics, revocationPollMs: config.revocationPollMs,
      onRevoked, onComplete: kept.revocations, onBundle: onOwnBundle, onFederation, refreshHintSeconds: () => held.get(trustDomain)?.bundle.refreshHintSeconds,
      onRenew: (withinMs) => rotation.renewNow(withinMs),
      onTap: (notice) => taps?.heardOf(notice),
      held: () => ({ sequence: held.get(trustDomain)?.bundle.sequence, identity: last }),
      refreshFiles() {
        files.refresh();
        publish();
      },
    });
  }

  function reportEdges(): void {
    if (traffic === undefined) return;
    stopReporting ??= startReporting({
      client, trustDomain, inboundMode: config.inbound && config.inboundMode, identity: holder.identity, edges: traffic.edges, clock, random, log, metrics,
      revocationSequence() {
        const { lastSuccessMs, sequence } = following?.status().revocation ?? {};
        return lastSuccessMs === undefined ? undefined : sequence;
      },
    });
  }

  function onIssued({ identity, bundles }: Accepted, acknowledged: HeldBundle | undefined): void {
    last = identity;
    take(bundles);
    save();
    followCa();
    following?.onIssued(acknowledged);
    serve();
    reportEdges();
  }

  function onOwnBundle(text: string, options: { readonly restored: boolean }): void {
    const merged = mergeOwnBundle(trustDomain, held, text, options);
    const changed = !sameBundles(held, merged.held);
    take(merged);
    if (changed) save();
    const [refusal] = merged.refused.filter((one) => one.trustDomain === trustDomain);
    if (refusal !== undefined) throw new Error(refusal.reason);
    // Peers have the same bundle: where our chain no longer verifies for us, it does not for them.
    const identity = holder.identity();
    if (identity !== undefined && !verifies(identity, trustDomain, held, clock.now())) {
      log.warn(
        { serialNumber: identity.serialNumber },
        "our certificate does not verify by the new bundle; asking for another one now",
      );
      rotation.renewNow();
    }
  }

  function onFederation({ trustDomains, bundles }: FederationTexts): void {
    const merged = mergeFederation(trustDomain, held, trustDomains, bundles);
    const changed = !sameBundles(held, merged.held);
    take(merged);
    if (changed) save();
  }

  if (last !== undefined) {
    publish();
    followCa(kept.restoreRevocations(), kept.restorePolicy());
    reportEdges();
    log.info({ spiffeId: last.id.uri, serialNumber: last.serialNumber }, "resumed the stored identity");
  }
  const pending = last === undefined ? kept.restoreRequest() : undefined;
  const rotation = startRotation({
    ...(pending !== undefined && bootstrap !== undefined && {
      restoredRequest: restoreRequest(pending, { token: bootstrap.token, lifetimeSeconds: config.certificateLifetimeSeconds, nowMs: clock.now() }),
    }),
    onFirstRequest: kept.request,
    client, trustDomain, clock, random, log, metrics, onIssued,
    keyAlgorithm: config.keyAlgorithm, lifetimeSeconds: config.certificateLifetimeSeconds, token: bootstrap?.token,
    evidence: platform && evidenceOf(platform, clock.now), rootFingerprints, restored: last, heldBundles: () => held, holds: () => following?.holds(),
    onExpired: () => holder.setIdentity(undefined),
  });
  const status = (): IdentityStatus => {
    const { bundle, revocation, policy, ...feed } = following?.status() ?? {};
    return { trustDomain, caUrl: origin.caUrl, last, keystoreError: kept.error(), rotation: rotation.status(), bundle, revocation, policy, feed: "watch" in feed ? feed : undefined };
  };
  exposeGauges(metrics, holder, status);
  return {
    status,
    unready: () => unreadyReason(holder, status()),
    issueJwtSvid: (audience, identity) => client.jwtSvid(identity, { audience }),
    stop() {
      rotation.stop();
      following?.stop();
      stopReporting?.();
      taps?.stop();
      client.close();
    },
  };
}

function originOf({ bootstrap, platform, stateDir }: ProxyConfig, stored: Origin | undefined): Origin {
  if (platform !== undefined) return { trustDomain: platform.trustDomain, caUrl: platform.caUrl, bootstrapHash: hashPlatform(platform) };
  if (bootstrap !== undefined) {
    return { trustDomain: bootstrap.trustDomain, caUrl: bootstrap.caUrl, bootstrapHash: hashBootstrap(bootstrap) };
  }
  if (stored !== undefined) {
    return { trustDomain: stored.trustDomain, caUrl: stored.caUrl, bootstrapHash: stored.bootstrapHash };
  }
  throw refused("bootstrap", undefined,
    `nothing is set and ${stateDir} holds no identity yet; run "countersign token create --id <SPIFFE ID>" at the CA ` +
      "and pass what it prints in COUNTERSIGN_BOOTSTRAP or --bootstrap-file");
}

function verifies({ chain }: Identity, trustDomain: string, held: HeldBundles, nowMs: number): boolean {
  const own = held.get(trustDomain)?.bundle;
  try {
    verifySvid({ chain, bundles: new Map(own && [[trustDomain, own]]), nowMs, purpose: "client" });
    return true;
  } catch {
    return false;
  }
}

function unreadyReason(holder: IdentityHolder, { last, rotation, revocation, policy }: IdentityStatus): string | undefined {
  const why = rotation.lastError === undefined ? "" : `: ${rotation.lastError.message}`;
  if (last === undefined) return `no certificate yet${why}`;
  if (holder.trust() === undefined) {
    const whyUnknown = revocation?.lastError === undefined ? "" : `: ${revocation.lastError}`;
    return `the list of revoked certificates is not known in full, so every peer is refused${whyUnknown}`;
  }
  if (holder.identity() === undefined) {
    return `the certificate ${last.serialNumber} expired at ${new Date(last.notAfterMs).toISOString()}${why}`;
  }
  if (holder.policy() === undefined) {
    return `it is not known yet who may call this workload, so nobody may${policy?.lastError === undefined ? "" : `: ${policy.lastError}`}`;
  }
  if (holder.trust()?.revoked.has(last.serialNumber) === true) {
    return `the certificate ${last.serialNumber} is revoked, so peers refuse it${why}`;
  }
  return undefined;
}
