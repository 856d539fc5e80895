import { parseBundle, type Bundle } from "../pki/bundle.ts";
import { storedBundle, type HeldForeignBundle, type Relationship, type StoredBundle } from "./documents.ts";
import { askEndpoint, type EndpointAnswer, type EndpointProof } from "./endpoint.ts";
import { FederationError } from "./errors.ts";
import { readHubBundle, requireRecent, type HubBundle } from "./hub-notes.ts";

/** By what endpoints are known. */
export interface FetchTrust {
  /** Trust domain -> bundle: ours, and the last good one of each that is federated with. */
  readonly bundles: ReadonlyMap<string, Bundle>;
  /** PEM; default: those that Node brings along. */
  readonly webRoots: readonly string[] | undefined;
  readonly nowMs: number;
}

/**
 * Asks a bundle endpoint for what it publishes. Each look begins at the configured URL; redirects are followed a few times, by the same
 * rules and to the same identity (its SPIFFE ID, or its host), and nothing of them is kept.
 * @throws {FederationError} endpoint_unreachable | endpoint_untrusted | endpoint_answer
 * @source SPIFFE Federation 5.2.1.4 and 5.2.2.4
 */
export async function requestBundle(relationship: Relationship, trust: FetchTrust): Promise<EndpointAnswer> {
  const proof = proofOf(relationship, trust);
  let url = new URL(relationship.endpointUrl);
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    const answer = await askEndpoint({ method: "GET", url, proof });
    if (!redirectStatus.has(answer.status)) return answer;
    if (answer.location === undefined || !URL.canParse(answer.location, url)) throw new FederationError("endpoint_answer", `${url.host} redirects to nowhere`);
    const next = new URL(answer.location, url);
    // Whoever can place a redirect on that host must not become the publisher; a host with another name proves nothing more than its name.
    if (proof.profile === "https_web" && next.hostname !== url.hostname) throw new FederationError("endpoint_answer", `${url.host} redirects to another host, ${next.host}; name that one as the endpoint`);
    url = next;
  }
  throw new FederationError("endpoint_answer", `it redirects more than ${maxRedirects} times`);
}

/**
 * Decides what an endpoint's answer is good for. Pure.
 * @returns what is to be stored; undefined when that is what is held already
 * @throws  {FederationError} endpoint_answer | bundle_refused | hub_refused
 */
export function processBundle({ trustDomain, hub }: Pick<Relationship, "trustDomain" | "hub">, held: HeldForeignBundle | undefined, answer: EndpointAnswer, nowMs: number): StoredBundle | undefined {
  const { status } = answer;
  if (status !== 200) throw new FederationError("endpoint_answer", `the endpoint answered with status ${status}, and no bundle`, { status });
  const { text, feedEpoch, signedAtMs } = hub === undefined ? { ...answer, signedAtMs: undefined } : fromHub(readHubBundle(answer.text, trustDomain, hub.key), held, nowMs);
  let offered: Bundle;
  try {
    offered = parseBundle(trustDomain, text);
  } catch (cause) {
    throw new FederationError("bundle_refused", (cause as Error).message, { cause });
  }
  const stored = storedBundle(offered, feedEpoch, signedAtMs);
  if (held === undefined) return stored;
  // A CA that came back from a backup says so by its epoch, and counts anew.
  const restored = feedEpoch !== undefined && held.feedEpoch !== undefined && feedEpoch !== held.feedEpoch;
  const [before, now] = [held.parsed.sequence, offered.sequence];
  if (!restored && before !== undefined && now !== undefined && now < before) {
    throw new FederationError("bundle_refused", `its sequence ${now} is below ${before}, which is held already: an old one, or its CA was restored from a backup`);
  }
  const same = stored.bundle === held.bundle && stored.refreshHintSeconds === held.refreshHintSeconds && stored.feedEpoch === held.feedEpoch;
  return same ? undefined : stored;
}

/** Whoever holds the hub can show what was signed long ago: a bundle of before a restore, whose epoch would let it pass. */
function fromHub({ bundle: text, feedEpoch, signedAtMs }: HubBundle, held: HeldForeignBundle | undefined, nowMs: number) {
  requireRecent(signedAtMs, held?.signedAt === undefined ? undefined : Date.parse(held.signedAt), nowMs);
  return { text, feedEpoch, signedAtMs };
}

/** By what the endpoint of a relationship is known: what was configured, and nothing else. */
export function proofOf({ trustDomain, profile, endpointSpiffeId }: Relationship, { bundles, webRoots, nowMs }: FetchTrust): EndpointProof {
  if (profile === "https_web") return { profile, roots: webRoots };
  if (endpointSpiffeId === undefined) throw new FederationError("endpoint_untrusted", `no SPIFFE ID is known of the endpoint of ${trustDomain}`);
  return { profile, spiffeId: endpointSpiffeId, bundles, nowMs };
}

const redirectStatus: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const maxRedirects = 5;
