import { createHash } from "node:crypto";
import type { IdentityStatus } from "./identity/start.ts";
import type { IdentitySource } from "./identity/source.ts";

/** What `/identity` shows. Never the key; times are RFC 3339. */
export interface IdentityPage {
  readonly spiffeId: string | undefined;
  /** False before the first certificate and after expiry. */
  readonly live: boolean;
  readonly serialNumber: string | undefined;
  readonly notBefore: string | undefined;
  readonly notAfter: string | undefined;
  /** SHA-256 of each certificate as presented, leaf first, lower-case hex. */
  readonly chainFingerprints: readonly string[];
  readonly trustDomain: string;
  readonly trustDomains: readonly {
    readonly trustDomain: string;
    readonly sequence: string | undefined;
    /** SHA-256 of each anchor, lower-case hex. */
    readonly authorities: readonly string[];
  }[];
  readonly ca: string;
  /** Undefined while a request is under way. */
  readonly nextAttempt: string | undefined;
  readonly lastRefresh: string | undefined;
  readonly failures: number;
  readonly lastError: { readonly code: string; readonly message: string; readonly at: string } | undefined;
  readonly bundle: { readonly lastRefresh: string | undefined; readonly lastError: string | undefined } | undefined;
  readonly revocations: {
    readonly held: number;
    readonly sequence: number;
    /** When the list was last complete, maybe before a restart. */
    readonly lastPoll: string | undefined;
    readonly ageSeconds: number | undefined;
    readonly lastError: string | undefined;
  } | undefined;
  /** Who may call this workload, as it is in force. */
  readonly policy: {
    readonly sequence: number | undefined;
    /** Names of the policies that select it. */
    readonly policies: readonly string[];
    readonly services: number;
    readonly lastRefresh: string | undefined;
    readonly lastError: string | undefined;
  } | undefined;
  /** How the CA is followed. */
  readonly feed: {
    readonly followedBy: "stream" | "polling";
    /** Since when by the stream. */
    readonly since: string | undefined;
    readonly epoch: string | undefined;
    /** Sequence of the bundle that the CA knows to be in force here. */
    readonly acknowledgedSequence: string | undefined;
    readonly lastError: string | undefined;
  } | undefined;
  readonly keystoreError: string | undefined;
}

/** Puts the page together from what the identity half says of itself and what the data path sees. */
export function identityPage(source: IdentitySource, status: IdentityStatus): IdentityPage {
  const { last, rotation, bundle, revocation, policy, feed } = status;
  const { lastError } = rotation;
  return {
    spiffeId: last?.id.uri,
    live: source.identity() !== undefined,
    serialNumber: last?.serialNumber,
    notBefore: isoTime(last?.notBeforeMs),
    notAfter: isoTime(last?.notAfterMs),
    chainFingerprints: (last?.chain ?? []).map((der) => createHash("sha256").update(der).digest("hex")),
    trustDomain: status.trustDomain,
    trustDomains: [...(source.trust()?.bundles.values() ?? [])].map(({ trustDomain, sequence, x509Authorities }) => (
      { trustDomain, sequence: sequence?.toString(), authorities: x509Authorities.map(({ fingerprint }) => fingerprint) }
    )),
    ca: status.caUrl,
    nextAttempt: isoTime(rotation.nextAttemptMs),
    lastRefresh: isoTime(rotation.lastRefreshMs),
    failures: rotation.failures,
    lastError: lastError && { code: lastError.code, message: lastError.message, at: new Date(lastError.atMs).toISOString() },
    bundle: bundle && { lastRefresh: isoTime(bundle.lastSuccessMs), lastError: bundle.lastError },
    revocations: revocation && {
      held: revocation.held, sequence: revocation.sequence, lastPoll: isoTime(revocation.lastSuccessMs),
      ageSeconds: revocation.ageSeconds, lastError: revocation.lastError,
    },
    policy: policy && {
      sequence: policy.sequence, policies: policy.policies, services: policy.services, lastRefresh: isoTime(policy.lastSuccessMs), lastError: policy.lastError,
    },
    feed: feed && {
      followedBy: feed.watch.liveSinceMs === undefined ? "polling" : "stream", since: isoTime(feed.watch.liveSinceMs), epoch: feed.feedEpoch,
      acknowledgedSequence: feed.acknowledgedSequence, lastError: feed.watch.lastError,
    },
    keystoreError: status.keystoreError,
  };
}

function isoTime(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}
