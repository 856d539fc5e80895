import { createPrivateKey, randomBytes } from "node:crypto";
import type { Cosigner } from "../audit/cosignature.ts";
import type { NoteSigner } from "../audit/note-signer.ts";
import type { HeldBundle } from "../contract/acknowledgements.ts";
import type { FederationNotice } from "../contract/federated-bundles.ts";
import { paths } from "../contract/paths.ts";
import type { WitnessKeys } from "../contract/witness.ts";
import type { Documents, DocumentSet } from "../documents.ts";
import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import type { Bundle } from "../pki/bundle.ts";
import { encodeBundleMap } from "../pki/bundle-map.ts";
import { decodePem } from "../pki/pem.ts";
import { encodeRequestAuthorization } from "../pki/request-authorization.ts";
import type { RateLimits } from "../rate-limits.ts";
import type { Fence } from "../store/rows/leases.ts";
import type { Store } from "../store/store.ts";
import { relationshipsOf, type HeldRelationship } from "./documents.ts";
import { followEndpoint, type EndpointProof } from "./endpoint.ts";
import { proofOf, type FetchTrust } from "./fetch-bundle.ts";
import { hubListener } from "./hub-acknowledgements.ts";
import { holdingsOf } from "./hub-holdings.ts";
import { hubPublisher, type HubPlace, type HubPublisher } from "./hub-publisher.ts";
import { hubService, type Hubs } from "./hubs.ts";
import { hubWitness } from "./hub-witness.ts";
import { invitationService, type Invitations } from "./invitations.ts";
import { noticeSince } from "./notice.ts";
import { peerAcknowledger, type Credentials } from "./peer-acknowledger.ts";
import { peerApiUrl } from "./peer-api.ts";
import { peerStreams } from "./peer-streams.ts";
import { acknowledgedBy, type Peers } from "./peers.ts";
import { bundleRefresher } from "./refresh.ts";
import { relationshipService, type Relationships } from "./relationships.ts";
import { rounds, type Rounds } from "./rounds.ts";
import { checkpointSubmitter } from "./submit-checkpoint.ts";
import { logWitness, type Witness } from "./witness.ts";

export interface FederationDeps {
  readonly documents: Documents;
  readonly store: Pick<Store, "report" | "reports" | "swapReport" | "checkpoint" | "entries" | "subtreeHashes">;
  readonly cosigner: Cosigner;
  /** Signs what this CA has in hubs. */
  readonly hubSigner: NoteSigner;
  /** Where that is put; undefined: nowhere. */
  readonly hubPlace: HubPlace | undefined;
  readonly feedEpoch: string;
  /** C2SP verifier key of our log. */
  readonly logKey: string;
  readonly trustDomain: string;
  readonly peers: Peers;
  readonly publishedSequence: () => number;
  readonly publicUrl: () => string;
  readonly rootFingerprint: () => string;
  readonly bundle: () => { readonly jwks: string; readonly bundle: Bundle };
  /** Key and chain of the API, PEM: what speaks for this CA to others. */
  readonly credentials: () => Credentials | Promise<Credentials>;
  readonly hold: () => Promise<Fence | undefined>;
  readonly webRoots: readonly string[] | undefined;
  readonly settleMs: number;
  readonly limits: Pick<RateLimits, "anonymous">;
  readonly metrics: Pick<CaMetrics, "federationRefreshed" | "federationHeld" | "cosigned" | "hubRead" | "hubListed" | "hubPublished" | "peerStreams" | "peerStreamEnded">;
  readonly log: Log;
  readonly now: () => Date;
}

/** Other trust domains: with which this one is federated, and their bundles. */
export interface Federation extends Relationships, Invitations, Pick<Hubs, "subscribe" | "unsubscribe" | "hubs">, Pick<HubPublisher, "document" | "holdingsDocument" | "logDocument" | "publication">, Rounds {
  /** C2SP verifier key of this CA in hubs. */
  readonly hubKey: string;
  /** Takes down which bundle of ours a peer holds. @throws {Refusal} proof_refused | bundle_unknown | rate_limited */
  acknowledge(held: HeldBundle, proof: string): Promise<void>;
  readonly witnessKeys: WitnessKeys;
  /** This CA as a witness of others' logs. */
  readonly witness: Witness;
  /** A SPIFFE bundle map: our bundle and all of theirs, and of what it is made. */
  bundleMap(): Promise<{ readonly json: string; readonly version: string }>;
  /** JSON of a `FederationNotice` with all bundles, and its sequence; at most a second old. */
  bundles(): Promise<{ readonly json: string; readonly sequence: FederationNotice["sequence"] }>;
}

/** Puts federation together. */
export function federationService(deps: FederationDeps): Federation {
  const { documents, trustDomain: own, peers, now } = deps;
  /** Made once for each change: a thousand looks at a thousand bundles would make a million of them. */
  let trusted: { readonly ours: Bundle; readonly relationships: ReadonlyMap<string, HeldRelationship>; readonly bundles: ReadonlyMap<string, Bundle> } | undefined;
  const trust = (relationships: ReadonlyMap<string, HeldRelationship>): FetchTrust => {
    const ours = deps.bundle().bundle;
    if (trusted?.ours !== ours || trusted.relationships !== relationships) {
      const foreign = [...relationships].flatMap(([name, { held }]) => (held === undefined ? [] : [[name, held.parsed] as const]));
      trusted = { ours, relationships, bundles: new Map([[own, ours], ...foreign]) };
    }
    return { bundles: trusted.bundles, webRoots: deps.webRoots, nowMs: now().getTime() };
  };

  const proof = async (relationship: HeldRelationship): Promise<EndpointProof> => proofOf(relationship, trust(relationshipsOf(await documents.current())));

  /** Who was added by an operator witnesses nothing of ours until it has told that it knows us. */
  async function submit(relationship: HeldRelationship): Promise<void> {
    const knowsUs = relationship.apiUrl !== undefined || acknowledgedBy(relationship, await peers.acknowledgements(relationship.trustDomain)) !== undefined;
    if (knowsUs) await submitter.submit(relationship);
  }

  const submitter = checkpointSubmitter({ ...deps, proofOf: proof });
  const keys: WitnessKeys = { logKey: deps.logKey, witnessKey: deps.cosigner.verifierKey };
  const witness = logWitness(deps);
  const inHubs = hubWitness({ ...deps, witness, submitter, keys });
  const { hear } = hubListener(deps);
  const streams = peerStreams({
    ...deps,
    onChange: (trustDomain) => void hasten(trustDomain),
    onEnd: (trustDomain) => void hasten(trustDomain),
    async open(relationship, lastEventId, signal) {
      const { key, chain } = await deps.credentials();
      const url = new URL(followPath, peerApiUrl(relationship));
      const authorization = encodeRequestAuthorization({
        method: "GET", target: followPath, body: "", nonce: randomBytes(nonceBytes).toString("base64url"), chain: decodePem(chain, "CERTIFICATE"), privateKey: createPrivateKey(key),
        audience: relationship.trustDomain, nowMs: now().getTime(),
      });
      const headers = { authorization, ...(lastEventId !== undefined && { "last-event-id": lastEventId }) };
      return followEndpoint({ url, proof: await proof(relationship), headers }, signal);
    },
  });
  const refresher = bundleRefresher({ ...deps, trust, acknowledge: peerAcknowledger({ ...deps, proofOf: proof }), submit, isFollowed: streams.isLive, hear: [hear, inHubs.look] });
  const hubs = hubService({ ...deps, hubKey: deps.hubSigner.verifierKey });
  const publisher = hubPublisher({
    ...deps, signer: deps.hubSigner, place: deps.hubPlace, shownLog: inHubs.shown,
    holdings: async (before) => holdingsOf(relationshipsOf(await documents.current()), before, now().getTime() - deps.settleMs),
  });
  const relationships = relationshipService({ documents, trustDomain: own, feedEpoch: deps.feedEpoch, peers, submitter, refresher });
  /** Of a fleet all hear it in the same second, and shall not all ask in the same one; how large it is shows by how many we know. */
  async function hasten(trustDomain: string): Promise<void> {
    refresher.hasten(trustDomain, Math.min(relationshipsOf(await documents.current()).size * spreadEachMs, maxSpreadMs));
  }

  // Where nothing runs between two requests there is nobody to follow a stream.
  let following = false;
  const looked = rounds([hubs.tick, refresher.tick, publisher.tick, async () => !following || streams.tick()], refresher, deps.log);
  const encoded = new WeakMap<DocumentSet, string>();
  /** Made once for each change. */
  let map: { readonly of: FetchTrust["bundles"]; readonly json: string } | undefined;
  return {
    ...relationships,
    ...invitationService({ ...deps, relationships }),
    acknowledge: peers.acknowledge,
    witnessKeys: keys, witness,
    async bundleMap() {
      const set = await documents.current();
      const { bundles } = trust(relationshipsOf(set));
      if (map?.of !== bundles) map = { of: bundles, json: encodeBundleMap(bundles) };
      return { json: map.json, version: `${bundles.get(own)?.sequence ?? 0}.${set.sequence}` };
    },
    async bundles() {
      const set = await documents.current();
      let json = encoded.get(set);
      if (json === undefined) encoded.set(set, json = noticeSince(set, 0, Infinity).json);
      return { json, sequence: set.sequence };
    },
    subscribe: hubs.subscribe, unsubscribe: hubs.unsubscribe, hubs: hubs.hubs, hubKey: deps.hubSigner.verifierKey,
    document: publisher.document, holdingsDocument: publisher.holdingsDocument, logDocument: publisher.logDocument, publication: publisher.publication,
    ...looked,
    start() {
      following = true;
      looked.start();
    },
    async close() {
      streams.close();
      await looked.close();
    },
  };
}

/** Of the feed what changes our own bundle there, and nothing else. */
const followPath = `${paths.watch}?events=bundle`;
const spreadEachMs = 50;
/** What changed is known to all of them within a minute. */
const maxSpreadMs = 20_000;
const nonceBytes = 18;
