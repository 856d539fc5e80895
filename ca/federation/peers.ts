import { acknowledgedText, type HeldBundle } from "../contract/acknowledgements.ts";
import { federatedCa } from "../contract/authorities.ts";
import type { Documents } from "../documents.ts";
import { PkiError } from "../pki/errors.ts";
import { parseRenewalProof, verifyRenewalProof } from "../pki/renewal-proof.ts";
import { verifySvid } from "../pki/svid.ts";
import type { RateLimits } from "../rate-limits.ts";
import { Refusal } from "../refusal.ts";
import type { HolderRow } from "../store/rows/holders.ts";
import type { ReportRow } from "../store/rows/reports.ts";
import type { Store } from "../store/store.ts";
import { relationshipsOf, type HeldRelationship } from "./documents.ts";
import { endpointId } from "./fetch-pinned.ts";

/** Which bundle of ours the CA of another trust domain has. */
export interface PeerAcknowledgement {
  readonly feedEpoch: string;
  readonly sequence: number;
  readonly atMs: number;
  /** By a hub: when that was signed. */
  readonly signedAtMs?: number;
  /** By a hub: that it has none of ours, so that nobody of us is believed there. */
  readonly none?: true;
  /** By a hub: how many looks in a row, since that is older than it may be, found nothing newer. */
  readonly missed?: number;
}

export interface PeersDeps {
  readonly documents: Documents;
  readonly store: Pick<Store, "report" | "reports">;
  readonly trustDomain: string;
  readonly feedEpoch: string;
  readonly publishedSequence: () => number;
  readonly limits: Pick<RateLimits, "workload" | "anonymous">;
  readonly now: () => Date;
}

/** The CAs of other trust domains as holders of our bundle. */
export interface Peers {
  /**
   * Takes down which bundle of ours a peer holds; its proof is by the key of the peer's endpoint.
   * @throws {Refusal} proof_refused | bundle_unknown | rate_limited
   */
  acknowledge(held: HeldBundle, proof: string): Promise<void>;
  /** Takes down what a peer was found to say, whose proof was looked at. */
  keep(trustDomain: string, said: Omit<PeerAcknowledgement, "atMs">): Promise<void>;
  /** Of all, or of one. */
  acknowledgements(trustDomain?: string): Promise<ReadonlyMap<string, PeerAcknowledgement>>;
  /** Who has not acknowledged this sequence: a root waits for them as for our own proxies. */
  behind(sequence: number): Promise<readonly HolderRow[]>;
}

/** Keeps what peers acknowledge. One whose bundle has ended counts no more: nobody of that trust domain is believed anyway. */
export function federatedPeers(deps: PeersDeps): Peers {
  const { documents, store, now } = deps;

  async function acknowledgements(trustDomain?: string): Promise<ReadonlyMap<string, PeerAcknowledgement>> {
    const all = new Map<string, PeerAcknowledgement>();
    for (let after: ReportRow | undefined; ;) {
      const rows = await store.reports({ kind: "federation-peer", ...(trustDomain !== undefined && { name: trustDomain }), nowMs: now().getTime(), limit: pageRows, ...(after && { after }) });
      for (const { name, body, reportedAtMs } of rows) {
        all.set(name, { ...JSON.parse(body) as Omit<PeerAcknowledgement, "atMs">, atMs: reportedAtMs });
      }
      after = rows.at(-1);
      if (rows.length < pageRows) return all;
    }
  }

  async function keep(trustDomain: string, said: Omit<PeerAcknowledgement, "atMs">): Promise<void> {
    const nowMs = now().getTime();
    await store.report({ kind: "federation-peer", name: trustDomain, part: "", body: JSON.stringify(said), reportedAtMs: nowMs, expiresAtMs: nowMs + retentionMs });
  }

  return {
    keep, acknowledgements,
    async acknowledge(held, proof) {
      const peer = proven(deps, held, proof, relationshipsOf(await documents.current()));
      const excess = deps.limits.workload(peer.endpointSpiffeId ?? peer.trustDomain);
      if (excess !== undefined) throw excess;
      const sequence = Number(held.bundleSequence);
      if (held.feedEpoch !== deps.feedEpoch || sequence > deps.publishedSequence()) {
        throw new Refusal("bundle_unknown", `This CA has not published the bundle ${held.bundleSequence} of the feed "${held.feedEpoch}": read it again and acknowledge that one.`);
      }
      await keep(peer.trustDomain, { feedEpoch: held.feedEpoch, sequence });
    },
    async behind(sequence) {
      const peers = [...relationshipsOf(await documents.refresh()).values()];
      if (peers.length === 0) return [];
      const known = await acknowledgements();
      const nowMs = now().getTime();
      return peers.flatMap((peer) => {
        const has = acknowledgedBy(peer, known);
        const acknowledgedSequence = has?.feedEpoch === deps.feedEpoch ? has.sequence : 0;
        const notAfterMs = Math.max(0, ...(peer.held?.parsed.x509Authorities ?? []).map((authority) => authority.notAfterMs));
        if (!isHolder(peer, has) || acknowledgedSequence >= sequence || notAfterMs < nowMs) return [];
        return [{ spiffeId: peer.endpointSpiffeId ?? endpointId(peer.trustDomain), serialNumber: federatedCa, acknowledgedSequence, notAfterMs }];
      });
    },
  };
}

/** What a peer has acknowledged since it was added: what it had before it was removed, it may have dropped. */
export function acknowledgedBy({ trustDomain, addedAtMs }: HeldRelationship, all: ReadonlyMap<string, PeerAcknowledgement>): PeerAcknowledgement | undefined {
  const found = all.get(trustDomain);
  return found !== undefined && found.atMs > addedAtMs && found.none === undefined ? found : undefined;
}

/**
 * Who joined us by an invitation has our bundle. Who was added here by an operator, or came by a hub, may know nothing of us until it says
 * that it has our bundle; a member of a hub then counts for as long as it goes on.
 */
function isHolder({ apiUrl }: HeldRelationship, has: PeerAcknowledgement | undefined): boolean {
  return apiUrl !== undefined || (has !== undefined && !isVanished(has));
}

/** A member of a hub of which nothing has been heard for days: no root waits for it. */
export function isVanished({ missed = 0 }: PeerAcknowledgement): boolean {
  return missed >= vanishedAfterLooks;
}

/** The store, but that federated CAs are among the holders of our bundle. */
export function storeWithPeers(store: Store, behind: (sequence: number) => Promise<readonly HolderRow[]>): Store {
  return {
    ...store,
    async holdersBehind(query) {
      const holders = await store.holdersBehind(query);
      // Nobody of another trust domain has a certificate by one of our authorities.
      return query.authorityIds === undefined ? [...await behind(query.sequence), ...holders].slice(0, query.limit) : holders;
    },
  };
}

/** The peer whose endpoint made the proof, by its bundle as we hold it. */
function proven(deps: PeersDeps, held: HeldBundle, jws: string, relationships: ReadonlyMap<string, HeldRelationship>): HeldRelationship {
  try {
    const proof = parseRenewalProof(jws, "acknowledgement");
    const nowMs = deps.now().getTime();
    if (Math.abs(nowMs - proof.issuedAtMs) > proofWindowMs) throw refused("it was made more than 5 min from this CA's clock; check the clocks");
    const bundles = new Map([...relationships].flatMap(([name, { held: bundle }]) => (bundle === undefined ? [] : [[name, bundle.parsed] as const])));
    const { id, leaf } = verifySvid({ chain: proof.chain, bundles, nowMs, purpose: "client" });
    const peer = relationships.get(id.trustDomain);
    // Any workload of that trust domain has a certificate; its CA alone speaks for it.
    if (peer?.endpointSpiffeId !== id.uri) throw refused(`${id.uri} is not the endpoint of its trust domain`);
    verifyRenewalProof(proof, leaf.publicKey, Buffer.from(acknowledgedText(held)), deps.trustDomain);
    return peer;
  } catch (cause) {
    if (cause instanceof PkiError || cause instanceof Refusal) {
      throw deps.limits.anonymous() ?? (cause instanceof Refusal ? cause : refused(cause.message, cause));
    }
    throw cause;
  }
}

function refused(why: string, cause?: unknown): Refusal {
  return new Refusal("proof_refused", `The acknowledgement's proof does not hold: ${why}.`, { cause });
}

/** One look may find nobody, as when this CA comes back from days without a network. */
export const vanishedAfterLooks = 3;
const proofWindowMs = 5 * 60_000;
const pageRows = 500;
/** Sent again with each refresh, once an hour at least. */
const retentionMs = 30 * 24 * 3_600_000;
