import type { AddFederationRequest, FederationAcknowledged, FederationSummary, ForeignBundleSummary } from "../contract/federation.ts";
import type { DocumentChange, Documents, DocumentSet } from "../documents.ts";
import { PkiError } from "../pki/errors.ts";
import { parseSpiffeId, parseTrustDomain } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";
import { fingerprintsOf, maxRelationships, readBundleText, relationshipOf, relationshipsOf, storedBundle, type HeldForeignBundle, type HeldRelationship, type Relationship } from "./documents.ts";
import { requireEndpointUrl } from "./endpoint.ts";
import { FederationError } from "./errors.ts";
import { acknowledgedBy, isVanished, type PeerAcknowledgement, type Peers } from "./peers.ts";
import { excludeFromHub, removal } from "./plan-hub.ts";
import type { Refresher } from "./refresh.ts";
import type { Cosigned, Submitter } from "./submit-checkpoint.ts";

export interface RelationshipsDeps {
  readonly documents: Documents;
  readonly trustDomain: string;
  /** Ours. */
  readonly feedEpoch: string;
  readonly peers: Pick<Peers, "acknowledgements">;
  readonly submitter: Pick<Submitter, "cosigned">;
  readonly refresher: Pick<Refresher, "refreshNow" | "status">;
}

/** With which trust domains this one is federated. */
export interface Relationships {
  list(): Promise<readonly FederationSummary[]>;
  /** @throws {Refusal} not_found */
  get(trustDomain: string): Promise<FederationSummary>;
  /**
   * Durable and in the audit log when it resolves; the bundle is looked for at once, and what keeps it from being fetched is in the answer.
   * @throws {Refusal} federation_refused | federation_exists | changed_meanwhile
   */
  add(request: AddFederationRequest, caller: { readonly actor: string }): Promise<FederationSummary>;
  /** Nobody of that trust domain is believed from now on. @throws {Refusal} not_found | changed_meanwhile */
  remove(trustDomain: string, caller: { readonly actor: string }): Promise<void>;
  /** Looks for its bundle now. @throws {Refusal} not_found | federation_failed */
  refresh(trustDomain: string): Promise<FederationSummary>;
}

/** Adds, shows and ends relationships. Each is one way: who is believed here, not where we are believed. */
export function relationshipService({ documents, trustDomain: own, feedEpoch, peers, submitter, refresher }: RelationshipsDeps): Relationships {
  async function get(trustDomain: string): Promise<FederationSummary> {
    const found = relationshipsOf(await documents.refresh()).get(trustDomain);
    if (found === undefined) throw notFound(trustDomain);
    return summarize(found, (await refresher.status(trustDomain)).get(trustDomain), acknowledgedBy(found, await peers.acknowledgements(trustDomain)), feedEpoch, (await submitter.cosigned(trustDomain)).get(trustDomain));
  }

  return {
    get,
    async list() {
      const [set, status, acknowledgements, cosigned] = await Promise.all([documents.refresh(), refresher.status(), peers.acknowledgements(), submitter.cosigned()]);
      return [...relationshipsOf(set).values()].map((one) => summarize(one, status.get(one.trustDomain), acknowledgedBy(one, acknowledgements), feedEpoch, cosigned.get(one.trustDomain)));
    },
    async add(request, { actor }) {
      const { trustDomain } = request;
      await documents.change((set) => additions(set, own, relationshipOf(request), request.bundle), actor);
      await refresher.refreshNow(trustDomain);
      return get(trustDomain);
    },
    async remove(trustDomain, { actor }) {
      await documents.change((set) => {
        if (!set.byKind.federation.has(trustDomain)) throw notFound(trustDomain);
        const dependent = [...relationshipsOf(set).values()].find((one) => (
          one.trustDomain !== trustDomain && one.endpointSpiffeId !== undefined && parseSpiffeId(one.endpointSpiffeId).trustDomain === trustDomain
        ));
        if (dependent !== undefined) {
          throw new Refusal("federation_refused", `The endpoint of ${dependent.trustDomain} is known by the bundle of ${trustDomain}: remove ${dependent.trustDomain} first.`);
        }
        const found = relationshipsOf(set).get(trustDomain)!;
        return [...removal(found), ...excludeFromHub(set, found)];
      }, actor);
    },
    async refresh(trustDomain) {
      if (!relationshipsOf(await documents.refresh()).has(trustDomain)) throw notFound(trustDomain);
      await refresher.refreshNow(trustDomain);
      const summary = await get(trustDomain);
      if (summary.refresh?.error !== undefined) throw new Refusal("federation_failed", `The bundle of ${trustDomain} is not refreshed; the last good one stays: ${summary.refresh.error}.`);
      return summary;
    },
  };
}

/**
 * What is to be stored for a new relationship, with its first bundle where there is one.
 * @throws {Refusal} federation_refused | federation_exists
 */
export function additions(set: DocumentSet, own: string, relationship: Relationship, bundleText: string | undefined): readonly DocumentChange[] {
  const { trustDomain, profile, endpointSpiffeId } = relationship;
  const known = relationshipsOf(set);
  try {
    parseTrustDomain(trustDomain);
    if (trustDomain === own) throw refused(`${own} is this CA's own trust domain; its bundle comes from nobody else`);
    if (!URL.canParse(relationship.endpointUrl)) throw refused("endpointUrl is no URL; it is like https://ca.example:8443/v1/bundle");
    requireEndpointUrl(new URL(relationship.endpointUrl));
    const endpoint = endpointSpiffeId === undefined ? undefined : parseSpiffeId(endpointSpiffeId);
    if (profile === "https_web" && endpoint !== undefined) throw refused("an https_web endpoint is known by its host name; endpointSpiffeId is for https_spiffe");
    if (profile === "https_spiffe") requireSpiffeEndpoint(trustDomain, own, endpoint?.trustDomain, bundleText, known);
    const bundle = bundleText === undefined ? undefined : readBundleText(trustDomain, bundleText);
    if (bundle !== undefined && bundle.x509Authorities.length === 0) throw refused("the bundle holds no X.509 authority, so nobody could be known by it");
    if (known.has(trustDomain)) {
      throw new Refusal("federation_exists", `${trustDomain} is federated with already; remove it first, which cuts what is open, or refresh it.`);
    }
    if (known.size >= maxRelationships) throw refused(`there are ${maxRelationships} relationships already`);
    const changes: readonly DocumentChange[] = [{ kind: "federation", name: trustDomain, document: relationship }];
    return bundle === undefined ? changes : [...changes, { kind: "foreign-bundle", name: trustDomain, document: storedBundle(bundle) }];
  } catch (cause) {
    if (cause instanceof PkiError || cause instanceof FederationError) throw refused(cause.message, cause);
    throw cause;
  }
}

/** SPIFFE Federation 5.2.2.2: the endpoint's ID, and a bundle by which it is known, come from the operator. */
function requireSpiffeEndpoint(trustDomain: string, own: string, endpointDomain: string | undefined, bundleText: string | undefined, known: ReadonlyMap<string, HeldRelationship>): void {
  if (endpointDomain === undefined) throw refused("https_spiffe needs endpointSpiffeId, such as spiffe://west/countersign/ca");
  if (endpointDomain === trustDomain) {
    if (bundleText === undefined) throw refused(`https_spiffe needs a first bundle of ${trustDomain}, by which its endpoint is known; get it from there by a way you trust`);
  } else if (endpointDomain !== own && !known.has(endpointDomain)) {
    throw refused(`the endpoint is of the trust domain ${endpointDomain}, which is not federated with; add that one first`);
  }
}

function summarize(
  { addedAtMs, addedBy, held, hub, ...relationship }: HeldRelationship, refresh: FederationSummary["refresh"], acknowledged: PeerAcknowledgement | undefined,
  feedEpoch: string, cosigned: Cosigned | undefined,
): FederationSummary {
  return {
    ...relationship, ...(hub && { hub: hub.name }), addedAt: new Date(addedAtMs).toISOString(), addedBy,
    ...(held && { bundle: summarizeBundle(held) }), ...(refresh && { refresh }),
    // One that has what none of its proxies had for long yet has said nothing so far.
    ...(acknowledged && acknowledged.sequence > 0 && { acknowledged: summarizeAcknowledged(acknowledged, feedEpoch) }),
    ...(cosigned && { cosigned: summarizeCosigned(cosigned) }),
  };
}

/** What is of a feed before a restore counts for nothing here, whatever its number. */
function summarizeAcknowledged(said: PeerAcknowledgement, feedEpoch: string): FederationAcknowledged {
  return { bundleSequence: String(said.feedEpoch === feedEpoch ? said.sequence : 0), at: new Date(said.signedAtMs ?? said.atMs).toISOString(), ...(isVanished(said) && { vanished: true }) };
}

function summarizeCosigned({ atMs, ...cosigned }: Cosigned): FederationSummary["cosigned"] & object {
  return { ...cosigned, ...(atMs !== undefined && { at: new Date(atMs).toISOString() }) };
}

function summarizeBundle({ parsed, refreshHintSeconds, changedAtMs }: HeldForeignBundle): ForeignBundleSummary {
  const { sequence, x509Authorities, jwtAuthorities } = parsed;
  const fingerprints = fingerprintsOf(parsed);
  return {
    ...(sequence !== undefined && { sequence: String(sequence) }),
    authorities: x509Authorities.map(({ notAfterMs }, index) => ({ fingerprint: fingerprints[index] ?? "", notAfter: new Date(notAfterMs).toISOString() })),
    jwtKeys: jwtAuthorities.length,
    ...(refreshHintSeconds !== undefined && { refreshHintSeconds }),
    changedAt: new Date(changedAtMs).toISOString(),
  };
}

function notFound(trustDomain: string): Refusal {
  return new Refusal("not_found", `${trustDomain} is not federated with; "countersign federation list" (GET /v1/federation) shows what is.`);
}

function refused(why: string, cause?: unknown): Refusal {
  return new Refusal("federation_refused", `Refused, and nothing was changed: ${why}.`, { cause });
}
