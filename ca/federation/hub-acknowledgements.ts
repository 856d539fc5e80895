import type { HeldRelationship } from "./documents.ts";
import { askEndpoint, type EndpointAnswer } from "./endpoint.ts";
import { FederationError } from "./errors.ts";
import { hubHoldingsFile, readHubHoldings } from "./hub-holdings.ts";
import { maxHubNoteAgeMs, refused, requireRecent } from "./hub-notes.ts";
import { vanishedAfterLooks, type PeerAcknowledgement, type Peers } from "./peers.ts";

export interface HubListenerDeps {
  readonly peers: Pick<Peers, "acknowledgements" | "keep">;
  /** Ours: of it members say which bundle they have. */
  readonly trustDomain: string;
  readonly feedEpoch: string;
  readonly publishedSequence: () => number;
  readonly webRoots: readonly string[] | undefined;
  readonly now: () => Date;
}

/** Hears from members of hubs which bundle of ours they have. */
export interface HubListener {
  /** Looks at what a member says, as long as it has not said that it has our newest bundle, and a few times a day. @throws {FederationError} */
  hear(relationship: HeldRelationship): Promise<void>;
}

/** One document of each member names all the others, so it is looked at no more often than there is something to hear. */
export function hubListener({ peers, trustDomain: own, webRoots, now, ...ours }: HubListenerDeps): HubListener {
  const etags = new Map<string, string>();

  /** @returns undefined where it says nothing, or nothing new */
  async function look({ trustDomain, endpointUrl }: HeldRelationship, mayBeKnown: boolean): Promise<Pick<EndpointAnswer, "text" | "etag"> | undefined> {
    const etag = mayBeKnown ? etags.get(trustDomain) : undefined;
    const answer = await askEndpoint({
      method: "GET", url: new URL(hubHoldingsFile(trustDomain), endpointUrl), proof: { profile: "https_web", roots: webRoots }, ...(etag !== undefined && { headers: { "if-none-match": etag } }),
    });
    const { status } = answer;
    // One that only publishes says nothing.
    if (status === 404 || (status === 304 && etag !== undefined)) return undefined;
    if (status !== 200) throw new FederationError("endpoint_answer", `the hub answered with status ${status}, and not with what ${trustDomain} has`, { status });
    return answer;
  }

  return {
    async hear(relationship) {
      const { trustDomain, hub, addedAtMs } = relationship;
      if (hub === undefined) return;
      const known = (await peers.acknowledgements(trustDomain)).get(trustDomain);
      const before = known !== undefined && known.atMs > addedAtMs ? known : undefined;
      const nowMs = now().getTime();
      const sequence = ours.publishedSequence();
      const isNewest = before?.none === undefined && before?.missed === undefined && before?.feedEpoch === ours.feedEpoch && before.sequence >= sequence;
      if (isNewest && nowMs - before.atMs < againMs) return;
      let said: Omit<PeerAcknowledgement, "atMs"> | undefined;
      try {
        const answer = await look(relationship, before !== undefined);
        if (answer !== undefined) {
          said = processHoldings(answer.text, { trustDomain, key: hub.key, own, sequence, feedEpoch: ours.feedEpoch, lastMs: known?.signedAtMs, nowMs });
          // Only now: what is refused, as for a clock that is ahead, may be taken with the next look.
          if (answer.etag === undefined) etags.delete(trustDomain);
          else etags.set(trustDomain, answer.etag);
        }
      } finally {
        said ??= before && missed(before, nowMs);
        if (said !== undefined) await peers.keep(trustDomain, said);
      }
    },
  };
}

/** Nothing newer was to be had; that counts once what is known is old, and not because this CA was away meanwhile. */
function missed({ atMs: _, ...before }: PeerAcknowledgement, nowMs: number): Omit<PeerAcknowledgement, "atMs"> | undefined {
  const looks = before.missed ?? 0;
  return before.signedAtMs !== undefined && before.signedAtMs < nowMs - maxHubNoteAgeMs && looks < vanishedAfterLooks ? { ...before, missed: looks + 1 } : undefined;
}

interface HoldingsReading {
  readonly trustDomain: string;
  /** The member's, C2SP. */
  readonly key: string;
  readonly own: string;
  readonly feedEpoch: string;
  /** The newest that we published. */
  readonly sequence: number;
  readonly lastMs: number | undefined;
  readonly nowMs: number;
}

/** What a member's word on its bundles says of ours. Pure. @throws {FederationError} hub_refused */
function processHoldings(text: string, { trustDomain, key, own, feedEpoch, sequence, lastMs, nowMs }: HoldingsReading): Omit<PeerAcknowledgement, "atMs"> {
  const { held, signedAtMs } = readHubHoldings(text, trustDomain, key);
  requireRecent(signedAtMs, lastMs, nowMs);
  const ours = held.get(own);
  if (ours === undefined) return { feedEpoch: "", sequence: 0, signedAtMs, none: true };
  const has = Number(ours.bundleSequence);
  if (ours.feedEpoch === feedEpoch && has > sequence) throw refused(`it says that it has our bundle ${has}, which was not published`);
  return { feedEpoch: ours.feedEpoch, sequence: has, signedAtMs };
}

/** So that one that vanished is told from one that has nothing new to say. */
const againMs = 6 * 3_600_000;
