import { z } from "@hono/zod-openapi";
import type { AcknowledgeRequest } from "../../contract/acknowledgements.ts";
import type {
  AcceptFederationRequest, FederationAcceptance, FederationInvitation, InviteFederationRequest, JoinFederationRequest,
} from "../../contract/federation-invitations.ts";
import { federationProfiles, type AddFederationRequest, type FederationList, type FederationSummary } from "../../contract/federation.ts";
import { acknowledgeRequest } from "./acknowledgements.ts";

/** Federation's shapes as zod schemas; requests are strict, as everywhere. */
const trustDomain = z.string().min(1).max(255).openapi({ example: "west" });
const url = z.string().min(1).max(2048);
/** 256 keys and their certificates. */
const bundle = z.string().min(1).max(512 * 1024).openapi({ description: "A SPIFFE bundle (JWK Set) as text, or PEM." });
const instant = z.iso.datetime();

export const addFederationRequest = z.strictObject({
  trustDomain,
  profile: z.enum(federationProfiles),
  endpointUrl: url.openapi({ example: "https://ca.west.example:8443/v1/bundle" }),
  endpointSpiffeId: z.string().min(1).max(2048).optional().openapi({ example: "spiffe://west/countersign/ca" }),
  bundle: bundle.optional(),
}).openapi("AddFederationRequest") satisfies z.ZodType<AddFederationRequest>;

export const federationRefresh = z.object({
  attemptedAt: instant, succeededAt: instant.exactOptional(), failures: z.number().int(), error: z.string().exactOptional(), followed: z.boolean().exactOptional(), intervalSeconds: z.number(),
});

export const federationSummary = z.object({
  trustDomain,
  profile: z.enum(federationProfiles),
  endpointUrl: url,
  endpointSpiffeId: z.string().exactOptional(),
  apiUrl: url.exactOptional().openapi({ description: "A Countersign CA that was invited or invited us." }),
  hub: z.string().exactOptional().openapi({ description: "By which hub it came." }),
  addedAt: instant,
  addedBy: z.string(),
  bundle: z.object({
    sequence: z.string().exactOptional(),
    authorities: z.array(z.object({ fingerprint: z.string(), notAfter: instant })).readonly(),
    jwtKeys: z.number().int(),
    refreshHintSeconds: z.number().int().exactOptional(),
    changedAt: instant,
  }).exactOptional().openapi({ description: "The last good one." }),
  refresh: federationRefresh.exactOptional().openapi({ description: "How the last look for it went." }),
  logKey: z.string().exactOptional().openapi({ description: "C2SP verifier key of its CA's audit log." }),
  witnessKey: z.string().exactOptional().openapi({ description: "C2SP verifier key of its CA as a witness." }),
  cosigned: z.object({
    size: z.number().int(), at: instant.exactOptional(), error: z.string().exactOptional(), contradicts: z.boolean().exactOptional(),
  }).exactOptional().openapi({ description: "How far its CA has cosigned our audit log." }),
  acknowledged: z.object({ bundleSequence: z.string(), at: instant, vanished: z.literal(true).exactOptional().openapi({ description: "It came by a hub and says nothing there any more: no root waits for it." }) }).exactOptional().openapi({ description: "Which bundle of ours its CA has." }),
}).openapi("Federation") satisfies z.ZodType<FederationSummary>;
export const federationList = z.object({ federation: z.array(federationSummary).readonly() }).openapi("FederationList") satisfies z.ZodType<FederationList>;

export const inviteFederationRequest = z.strictObject({
  expiresInSeconds: z.number().int().min(60).max(7 * 86_400).optional(),
}).openapi("InviteFederationRequest") satisfies z.ZodType<InviteFederationRequest>;
export const federationInvitation = z.object({
  invitation: z.string().openapi({ description: "A secret: the one string the other CA needs." }), trustDomain, rootFingerprint: z.string(), expiresAt: instant,
}).openapi("FederationInvitation") satisfies z.ZodType<FederationInvitation>;

export const acceptFederationRequest = z.strictObject({ invitation: z.string().min(1).max(4096) }).openapi("AcceptFederationRequest") satisfies z.ZodType<AcceptFederationRequest>;
const side = z.object({ trustDomain, rootFingerprints: z.array(z.string()).readonly() });
export const federationAcceptance = z.object({ federation: federationSummary, own: side, peer: side }).openapi("FederationAcceptance") satisfies z.ZodType<FederationAcceptance>;

export const joinFederationRequest = z.strictObject({
  invitation: z.string().min(1).max(64), secret: z.string().min(1).max(128), trustDomain, apiUrl: url, bundle,
}).openapi("JoinFederationRequest") satisfies z.ZodType<JoinFederationRequest>;
export const joinedFederation = z.object({ trustDomain }).openapi("JoinedFederation");
export const acknowledgeFederationRequest = acknowledgeRequest satisfies z.ZodType<AcknowledgeRequest>;
