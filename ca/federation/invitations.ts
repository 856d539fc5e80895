import { randomBytes, timingSafeEqual } from "node:crypto";
import type { FederationAcceptance, FederationInvitation, InviteFederationRequest, JoinFederationRequest } from "../contract/federation-invitations.ts";
import type { FederationSummary } from "../contract/federation.ts";
import { paths } from "../contract/paths.ts";
import type { Problem } from "../contract/problem.ts";
import type { DocumentChange, Documents, DocumentSet } from "../documents.ts";
import { parseBundle, type Bundle } from "../pki/bundle.ts";
import { PkiError } from "../pki/errors.ts";
import { sha256 } from "../pki/sha256.ts";
import type { RateLimits } from "../rate-limits.ts";
import { Refusal } from "../refusal.ts";
import { fingerprintsOf, relationshipsOf, type Relationship, type StoredInvitation } from "./documents.ts";
import { askEndpoint, type EndpointAnswer } from "./endpoint.ts";
import { FederationError } from "./errors.ts";
import { endpointId, fetchPinned } from "./fetch-pinned.ts";
import { encodeInvitation, parseInvitation } from "./invitation-text.ts";
import { additions, type Relationships } from "./relationships.ts";

export interface InvitationsDeps {
  readonly documents: Documents;
  readonly trustDomain: string;
  /** Where the other CA reaches this one. */
  readonly publicUrl: () => string;
  /** Of the active root, hex. */
  readonly rootFingerprint: () => string;
  readonly bundle: () => { readonly jwks: string; readonly bundle: Bundle };
  readonly relationships: Pick<Relationships, "get" | "refresh">;
  readonly limits: Pick<RateLimits, "anonymous">;
  readonly now: () => Date;
}

/** Joining two CAs is one exchange: one makes a string, the other takes it, and both trust each other's workloads. */
export interface Invitations {
  /** Durable and in the audit log when it resolves. */
  invite(request: InviteFederationRequest, caller: { readonly actor: string }): Promise<FederationInvitation>;
  /** Takes another CA's invitation: first it takes us in, then we it. May be repeated. @throws {Refusal} invitation_refused | federation_* */
  accept(text: string, caller: { readonly actor: string }): Promise<FederationAcceptance>;
  /** Another CA takes ours. The one that joined may repeat it until the invitation ends. @throws {Refusal} invitation_refused | federation_* */
  join(request: JoinFederationRequest): Promise<{ readonly trustDomain: string }>;
}

/** Invites CAs of other trust domains, and takes their invitations. */
export function invitationService({ documents, trustDomain: own, publicUrl, rootFingerprint, bundle, relationships, limits, now }: InvitationsDeps): Invitations {
  /** Another replica may have made the invitation just now. */
  async function setWith(id: string): Promise<DocumentSet> {
    const set = await documents.current();
    return set.byKind["federation-invitation"].has(id) ? set : documents.refresh();
  }

  return {
    async invite({ expiresInSeconds = defaultLifetimeSeconds }, { actor }) {
      const id = randomBytes(idBytes).toString("hex");
      const secret = randomBytes(secretBytes).toString("base64url");
      const expiresAt = new Date(now().getTime() + expiresInSeconds * 1000).toISOString();
      const document: StoredInvitation = { secretHash: hashOf(secret).toString("hex"), expiresAt };
      await documents.change((set) => [...overInvitations(set, now()), { kind: "federation-invitation", name: id, document }], actor);
      const fingerprint = rootFingerprint();
      const invitation = encodeInvitation({ apiUrl: publicUrl(), trustDomain: own, rootFingerprint: fingerprint, id, secret, expiresAt });
      return { invitation, trustDomain: own, rootFingerprint: fingerprint, expiresAt };
    },
    async accept(text, { actor }) {
      const parts = parseInvitation(text);
      const { trustDomain, apiUrl } = parts;
      const relationship = relationshipTo(trustDomain, apiUrl);
      if (parts.expiresAt < now().toISOString()) throw new Refusal("invitation_refused", `The invitation has ended at ${parts.expiresAt}; have a new one made.`);
      const first = await failing(() => fetchPinned(parts, now().getTime()));
      const missing = (set: DocumentSet): readonly DocumentChange[] => (isKnown(set, relationship, fingerprintsOf(first.bundle)) ? [] : additions(set, own, relationship, first.text));
      // What would be refused here must not leave them with half of it.
      missing(await documents.refresh());
      const joined: JoinFederationRequest = { invitation: parts.id, secret: parts.secret, trustDomain: own, apiUrl: publicUrl(), bundle: bundle().jwks };
      // Also where we have them already: they may have removed us since.
      await failing(async () => requireJoined(await askEndpoint({
        method: "POST", url: new URL(paths.federationJoins, apiUrl), body: JSON.stringify(joined),
        proof: { profile: "https_spiffe", spiffeId: endpointId(trustDomain), bundles: new Map([[trustDomain, first.bundle]]), nowMs: now().getTime() },
      })));
      // If we die here they trust us and we do not trust them: accepting the same string again goes on from here.
      await documents.change(missing, actor);
      const federation: FederationSummary = await relationships.refresh(trustDomain).catch(() => relationships.get(trustDomain));
      return {
        federation, own: { trustDomain: own, rootFingerprints: fingerprintsOf(bundle().bundle) },
        peer: { trustDomain, rootFingerprints: federation.bundle?.authorities.map(({ fingerprint }) => fingerprint) ?? [] },
      };
    },
    async join({ invitation: id, secret, trustDomain, apiUrl, bundle: text }) {
      // Before it stands in line with those who change documents: that line is no place for strangers.
      openInvitation(await setWith(id), id, secret, now(), limits);
      await documents.change((set) => {
        const invitation = openInvitation(set, id, secret, now(), limits);
        if (!URL.canParse(apiUrl)) throw new Refusal("federation_refused", "apiUrl is no URL; the CA that joins has the wrong publicUrl.");
        const rootFingerprints = fingerprintsOf(refusing(() => parseBundle(trustDomain, text)));
        if (invitation.joined !== undefined) {
          const again = invitation.joined.trustDomain === trustDomain && invitation.joined.rootFingerprints.join() === rootFingerprints.join();
          if (again && set.byKind.federation.has(trustDomain)) return [];
          throw new Refusal("invitation_refused", `The invitation has been taken already, by ${invitation.joined.trustDomain}. If that was not meant, remove it: countersign federation remove.`);
        }
        const relationship = relationshipTo(trustDomain, apiUrl);
        return [
          ...(isKnown(set, relationship, rootFingerprints) ? [] : additions(set, own, relationship, text)),
          { kind: "federation-invitation", name: id, document: { ...invitation, joined: { trustDomain, rootFingerprints } } },
        ];
      }, `federation-invitation:${/^[0-9a-f]{1,32}$/.test(id) ? id : "unknown"}`);
      return { trustDomain: own };
    },
  };
}

/** The very same one: neither another endpoint nor a CA that was set up anew takes its place. */
function isKnown(set: DocumentSet, { trustDomain, endpointUrl, endpointSpiffeId }: Relationship, rootFingerprints: readonly string[]): boolean {
  const known = relationshipsOf(set).get(trustDomain);
  return known?.held !== undefined && known.endpointUrl === endpointUrl && known.endpointSpiffeId === endpointSpiffeId
    && fingerprintsOf(known.held.parsed).some((each) => rootFingerprints.includes(each));
}

function relationshipTo(trustDomain: string, apiUrl: string): Relationship {
  return { trustDomain, profile: "https_spiffe", endpointUrl: new URL(paths.bundle, apiUrl).href, endpointSpiffeId: endpointId(trustDomain), apiUrl };
}

/** The invitation, if the secret is its own and it has not ended. Strangers ask here, so each wrong guess counts. */
function openInvitation(set: DocumentSet, id: string, secret: string, now: Date, limits: Pick<RateLimits, "anonymous">): StoredInvitation {
  const row = set.byKind["federation-invitation"].get(id);
  const invitation = row && JSON.parse(row.body) as StoredInvitation;
  const hash = Buffer.from(invitation?.secretHash ?? "", "hex");
  const presented = hashOf(secret);
  if (invitation === undefined || hash.length !== presented.length || !timingSafeEqual(hash, presented)) {
    throw limits.anonymous() ?? new Refusal("invitation_refused", "There is no such invitation; have a new one made.");
  }
  if (invitation.expiresAt < now.toISOString()) throw new Refusal("invitation_refused", `The invitation has ended at ${invitation.expiresAt}; have a new one made.`);
  return invitation;
}

/** Invitations nobody can take any more. */
function overInvitations(set: DocumentSet, now: Date): readonly DocumentChange[] {
  return [...set.byKind["federation-invitation"]].filter(([, { body }]) => (JSON.parse(body) as StoredInvitation).expiresAt < now.toISOString())
    .slice(0, maxForgotten).map(([name]) => ({ kind: "federation-invitation", name }));
}

function requireJoined({ status, text }: EndpointAnswer): void {
  if (status === 200) return;
  let said: Partial<Problem> = {};
  try {
    said = JSON.parse(text) as Partial<Problem>;
  } catch {
    // No problem document: the status has to do.
  }
  const detail = typeof said.detail === "string" ? said.detail.replaceAll(/[^\x20-\x7e]+/g, " ").slice(0, maxDetailLength) : `status ${status}`;
  throw new FederationError("endpoint_answer", `it does not take us in: ${detail}`, { status });
}

async function failing<Result>(act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (cause) {
    if (cause instanceof FederationError) throw new Refusal("federation_failed", `Nothing was changed here: ${cause.message}.`, { cause });
    throw cause;
  }
}

function refusing<Result>(act: () => Result): Result {
  try {
    return act();
  } catch (cause) {
    if (cause instanceof PkiError) throw new Refusal("federation_refused", `The bundle is refused: ${cause.message}.`, { cause });
    throw cause;
  }
}

function hashOf(secret: string): Buffer {
  return Buffer.from(sha256(secret));
}

const idBytes = 8;
const secretBytes = 32;
const defaultLifetimeSeconds = 3_600;
const maxForgotten = 100;
const maxDetailLength = 400;
