import type { Registry as MetricsRegistry } from "prom-client";
import Counter from "prom-client/lib/counter.js";
import Gauge from "prom-client/lib/gauge.js";
import Histogram from "prom-client/lib/histogram.js";
import Registry from "prom-client/lib/registry.js";
import type { AttestationMethod } from "./contract/attestation.ts";
import type { ProblemCode } from "./contract/problem.ts";

/** What the CA counts. `registry` renders it for /metrics. */
export interface CaMetrics {
  readonly registry: MetricsRegistry;
  issued(method: AttestationMethod, durationMs: number): void;
  jwtSvidIssued(): void;
  /** A configured attestor was shown evidence; `ok`, or the code of its refusal. */
  attested(attestor: string, outcome: string): void;
  /** A challenge of ACME's was looked at. */
  acmeProved(challenge: string, isMet: boolean): void;
  /** Any refusal that was answered; the HTTP layer counts them. */
  denied(code: ProblemCode): void;
  revoked(): void;
  /** Streams of the feed that are open now. */
  watching(count: number): void;
  watchEnded(why: string): void;
  /** An OCSP request was answered: with a status, or with an error. */
  ocspAnswered(outcome: string): void;
  /** A CRL was signed, here, and is published. */
  crlSigned(authority: string, list: string, crl: SignedCrlFacts): void;
  /** An issuance became durable. Those that shared a commit come back in the same turn of the event loop and count as one group. */
  committed(): void;
  /** A commit held the log's writer lock for so long: all replicas write one after another. */
  storeLocked(lockedMs: number): void;
  /** A call to KMS, retries included. */
  kmsCall(operation: string, ok: boolean, durationMs: number): void;
  /** An authority's key outside was asked, and answered or did not. */
  authorityKey(location: string, authorityId: string, ok: boolean): void;
  /** Replaces what is known of the authorities; read at scrape time. */
  /** A step in the life of the authorities was taken, or could not be. */
  authorityStep(step: string, result: "taken" | "failed"): void;
  /** The log's newest checkpoint is kept beside the database. */
  witnessed(): void;
  /** The certificate of the web that the bundle endpoint shows was read. */
  webCertificate(notAfterMs: number): void;
  /** How many holders keep a prepared root from its activation; undefined when none waits. */
  holdersBehind(count: number | undefined): void;
  /** A look for another trust domain's bundle: `ok`, or why it failed. */
  federationRefreshed(trustDomain: string, result: string): void;
  /** How long ago the bundle was last known to be the newest; undefined: never, or it is not federated with any more. */
  federationHeld(trustDomain: string, ageMs: number | undefined): void;
  /** A look at a hub's list: `ok`, or why it failed, and how long ago it was known to be the newest; no result: the hub was left. */
  hubRead(hub: string, result: string | undefined, ageMs: number | undefined): void;
  /** When the list in force was signed, and when it ends; undefined: there is none, or it does not end. */
  hubListed(hub: string, signedAtMs: number | undefined, endsAtMs: number | undefined): void;
  /** This CA's bundle was published for hubs: `ok`, or why it was not. */
  hubPublished(result: string): void;
  /** Streams of federated CAs that are followed now. */
  peerStreams(count: number): void;
  peerStreamEnded(trustDomain: string, why: string): void;
  /** A federated CA was asked to cosign our log: `ok`, or why it did not. @param size  entries it has cosigned by now */
  cosigned(trustDomain: string, result: string, size?: number): void;
  /** The CA above this one was asked for something: `ok`, or why it did not do its part. */
  upstreamAsked(what: "issuer" | "look", result: string): void;
  authorities(list: readonly { readonly id: string; readonly type: string; readonly state: string; readonly notAfterMs: number }[]): void;
}

export interface SignedCrlFacts {
  readonly number: number;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  readonly entries: number;
  readonly durationMs: number;
}

/** A registry of its own, so that two CAs in one process (tests, the demo) do not add up. */
export function caMetrics(): CaMetrics {
  const registry = new Registry();
  const registers = [registry];
  const issued = new Counter({ name: "countersign_certificates_issued_total", help: "Certificates issued.", labelNames: ["attestation"], registers });
  const jwtSvids = new Counter({ name: "countersign_jwt_svids_issued_total", help: "JWT-SVIDs issued.", registers });
  const attested = new Counter({ name: "countersign_attestations_total", help: "Evidence shown to configured attestors, by outcome.", labelNames: ["attestor", "outcome"], registers });
  const acmeProved = new Counter({ name: "countersign_acme_challenges_total", help: "Challenges of ACME looked at, by whether they were met.", labelNames: ["challenge", "result"], registers });
  const denied = new Counter({ name: "countersign_requests_denied_total", help: "Requests refused, by problem code.", labelNames: ["code"], registers });
  const revoked = new Counter({ name: "countersign_certificates_revoked_total", help: "Certificates revoked.", registers });
  const watching = new Gauge({ name: "countersign_watchers", help: "Streams of the feed that are open.", registers });
  const watchEnded = new Counter({ name: "countersign_watches_ended_total", help: "Streams of the feed that ended, by why.", labelNames: ["why"], registers });
  const ocsp = new Counter({ name: "countersign_ocsp_responses_total", help: "OCSP requests answered, by status or error.", labelNames: ["outcome"], registers });
  const crlNumber = new Gauge({ name: "countersign_crl_number", help: "Number of the newest CRL of each list that this process signed.", labelNames: ["authority", "list"], registers });
  const crlThisUpdate = new Gauge({ name: "countersign_crl_this_update_timestamp_seconds", help: "When it was made, Unix time.", labelNames: ["authority", "list"], registers });
  const crlNextUpdate = new Gauge({ name: "countersign_crl_next_update_timestamp_seconds", help: "When it is over, Unix time.", labelNames: ["authority", "list"], registers });
  const crlEntries = new Gauge({ name: "countersign_crl_entries", help: "Revoked certificates on it.", labelNames: ["authority", "list"], registers });
  const crlDuration = new Histogram({ name: "countersign_crl_sign_duration_seconds", help: "From the decision to the published CRL.", buckets: durationBuckets, registers });
  const duration = new Histogram({
    name: "countersign_issue_duration_seconds", help: "From the parsed request to the durable certificate.", buckets: durationBuckets, registers,
  });
  const group = new Histogram({ name: "countersign_commit_acts", help: "Issuances that shared one commit.", buckets: groupBuckets, registers });
  const locked = new Histogram({
    name: "countersign_store_lock_seconds", help: "How long a commit held the log's writer lock, which all replicas share.", buckets: lockBuckets, registers,
  });
  const expiry = new Gauge({
    name: "countersign_authority_expiry_timestamp_seconds", help: "notAfter of roots and issuers, Unix time.", labelNames: ["authority", "type", "state"], registers,
  });
  const kms = new Histogram({
    name: "countersign_kms_call_duration_seconds", help: "Calls to KMS, retries included, by outcome.", labelNames: ["operation", "outcome"],
    buckets: durationBuckets, registers,
  });
  const keys = new Gauge({
    name: "countersign_authority_key_available", help: "1 if the authority's key outside the store answered when last asked, 0 if it failed.",
    labelNames: ["authority", "location"], registers,
  });
  const steps = new Counter({ name: "countersign_authority_steps_total", help: "Steps in the life of roots and issuers.", labelNames: ["step", "result"], registers });
  const behind = new Gauge({
    name: "countersign_authority_holders_behind", help: "Holders that have not acknowledged the bundle a prepared root waits for, up to 1000.", registers,
  });
  const webExpiry = new Gauge({
    name: "countersign_web_certificate_expiry_timestamp_seconds", help: "notAfter of the bundle endpoint's certificate of the web, Unix time; 0: there is none.", registers,
  });
  const witnessedAt = new Gauge({
    name: "countersign_log_witnessed_timestamp_seconds", help: "When the log's newest checkpoint was last known to be kept beside the database, Unix time.", registers,
  });
  const federationRefreshes = new Counter({
    name: "countersign_federation_refreshes_total", help: "Looks for the bundles of other trust domains, by result.", labelNames: ["trust_domain", "result"], registers,
  });
  const federationAge = new Gauge({
    name: "countersign_federation_bundle_age_seconds", help: "How long ago each was last known to be the newest, on the replica that looks.", labelNames: ["trust_domain"], registers,
  });
  const peerStreams = new Gauge({ name: "countersign_federation_streams", help: "Federated CAs whose changes are told by a stream, on the replica that looks.", registers });
  const peerStreamsEnded = new Counter({
    name: "countersign_federation_streams_ended_total", help: "Streams of federated CAs that ended or could not be had, by why.", labelNames: ["trust_domain", "why"], registers,
  });
  const hubReads = new Counter({ name: "countersign_federation_hub_reads_total", help: "Looks at the lists of hubs, by result.", labelNames: ["hub", "result"], registers });
  const hubAge = new Gauge({
    name: "countersign_federation_hub_age_seconds", help: "How long ago each hub's list was known to be the newest, at the last look, on the replica that looks.", labelNames: ["hub"], registers,
  });
  const hubListSigned = new Gauge({ name: "countersign_federation_hub_list_signed_timestamp_seconds", help: "When each hub's list in force was signed, on the replica that looks.", labelNames: ["hub"], registers });
  const hubListEnds = new Gauge({ name: "countersign_federation_hub_list_ends_timestamp_seconds", help: "When it ends and nobody is believed by it any more; none for one that does not end.", labelNames: ["hub"], registers });
  const hubPublications = new Counter({ name: "countersign_federation_hub_publications_total", help: "Publications of this CA's bundle for hubs, by result.", labelNames: ["result"], registers });
  const cosignatures = new Counter({
    name: "countersign_witness_requests_total", help: "Requests to federated CAs to cosign this CA's audit log, by result.", labelNames: ["trust_domain", "result"], registers,
  });
  const cosignedSize = new Gauge({
    name: "countersign_witness_cosigned_entries", help: "Entries of the audit log that each federated CA has cosigned.", labelNames: ["trust_domain"], registers,
  });
  const upstream = new Counter({
    name: "countersign_upstream_requests_total", help: "Issuers asked for at the CA above this one, and looks at it, by result.", labelNames: ["what", "result"], registers,
  });
  // Looking a label up by object costs more than counting: each child is made once.
  const issuedBy = childOf((attestation: AttestationMethod) => issued.labels({ attestation }));
  const ocspBy = childOf((outcome: string) => ocsp.labels({ outcome }));
  let inGroup = 0;
  const deniedBy = childOf((code: ProblemCode) => denied.labels({ code }));
  return {
    registry,
    issued(method, durationMs) {
      issuedBy(method).inc();
      duration.observe(durationMs / 1000);
    },
    jwtSvidIssued: () => jwtSvids.inc(),
    attested: (attestor, outcome) => attested.inc({ attestor, outcome }),
    acmeProved: (challenge, isMet) => acmeProved.inc({ challenge, result: isMet ? "met" : "failed" }),
    denied: (code) => deniedBy(code).inc(),
    revoked: () => revoked.inc(),
    watching: (count) => watching.set(count),
    watchEnded: (why) => watchEnded.inc({ why }),
    ocspAnswered: (outcome) => ocspBy(outcome).inc(),
    crlSigned(authority, list, { number, thisUpdateMs, nextUpdateMs, entries, durationMs }) {
      crlNumber.set({ authority, list }, number);
      crlThisUpdate.set({ authority, list }, thisUpdateMs / 1000);
      crlNextUpdate.set({ authority, list }, nextUpdateMs / 1000);
      crlEntries.set({ authority, list }, entries);
      crlDuration.observe(durationMs / 1000);
    },
    storeLocked: (lockedMs) => locked.observe(lockedMs / 1000),
    committed() {
      if (inGroup++ === 0) {
        setImmediate(() => {
          group.observe(inGroup);
          inGroup = 0;
        });
      }
    },
    kmsCall: (operation, ok, durationMs) => kms.observe({ operation, outcome: ok ? "ok" : "failed" }, durationMs / 1000),
    authorityKey: (location, authority, ok) => keys.set({ authority, location }, ok ? 1 : 0),
    authorityStep: (step, result) => steps.inc({ step, result }),
    witnessed: () => witnessedAt.setToCurrentTime(),
    webCertificate: (notAfterMs) => webExpiry.set(notAfterMs / 1000),
    holdersBehind: (count) => behind.set(count ?? 0),
    federationRefreshed: (trust_domain, result) => federationRefreshes.inc({ trust_domain, result }),
    federationHeld: (trust_domain, ageMs) => (ageMs === undefined ? federationAge.remove({ trust_domain }) : federationAge.set({ trust_domain }, ageMs / 1000)),
    peerStreams: (count) => peerStreams.set(count),
    peerStreamEnded: (trust_domain, why) => peerStreamsEnded.inc({ trust_domain, why }),
    hubListed(hub, signedAtMs, endsAtMs) {
      for (const [gauge, ms] of [[hubListSigned, signedAtMs], [hubListEnds, endsAtMs]] as const) {
        if (ms === undefined) gauge.remove({ hub });
        else gauge.set({ hub }, ms / 1000);
      }
    },
    hubRead(hub, result, ageMs) {
      if (result !== undefined) hubReads.inc({ hub, result });
      if (ageMs !== undefined) hubAge.set({ hub }, ageMs / 1000);
      else if (result === undefined) hubAge.remove({ hub });
    },
    hubPublished: (result) => hubPublications.inc({ result }),
    cosigned(trust_domain, result, size) {
      cosignatures.inc({ trust_domain, result });
      if (size !== undefined) cosignedSize.set({ trust_domain }, size);
    },
    upstreamAsked: (what, result) => upstream.inc({ what, result }),
    authorities(list) {
      expiry.reset();
      for (const { id, type, state, notAfterMs } of list) expiry.set({ authority: id, type, state }, notAfterMs / 1000);
    },
  };
}

function childOf<Key, Child>(make: (key: Key) => Child): (key: Key) => Child {
  const children = new Map<Key, Child>();
  return (key) => {
    let child = children.get(key);
    if (child === undefined) children.set(key, (child = make(key)));
    return child;
  };
}

const lockBuckets = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5];
const durationBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const groupBuckets = [1, 2, 4, 8, 16, 32, 64, 128, 256];
