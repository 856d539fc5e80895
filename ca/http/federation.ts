import { z } from "@hono/zod-openapi";
import { mediaType } from "../contract/headers.ts";
import { Refusal } from "../refusal.ts";
import { conditional, json, noContent } from "./answer.ts";
import {
  acceptFederationRequest, acknowledgeFederationRequest, addFederationRequest, federationAcceptance, federationInvitation, federationList, federationSummary,
  inviteFederationRequest, joinedFederation, joinFederationRequest,
} from "./schemas/federation.ts";
import { operation, type Operation } from "./operation.ts";
import type { Caller, CaServices } from "./services.ts";

/** Other trust domains: whom to believe, and how two CAs come to believe each other. */
export function federationOperations({ federation, feedEpoch }: CaServices): readonly Operation[] {
  return [
    operation({
      route: "GET /v1/federation",
      tag: "federation",
      summary: "List federated trust domains",
      description: "With their last good bundles, and how the last look for each went.",
      success: { status: 200, description: "All of them.", content: { [mediaType.json]: federationList } },
      handle: async () => json({ federation: await federation.list() }),
    }),
    operation({
      route: "POST /v1/federation",
      tag: "federation",
      summary: "Federate with a trust domain",
      description:
        "One way: its workloads are believed here, each by its own trust domain's bundle and no other. The bundle is looked for at once; `refresh.error` of the " +
        "answer says what kept it from being fetched, and it is tried again. Our own is at `GET /v1/bundle`, for https_spiffe as spiffe://<trust domain>/countersign/ca.",
      body: { schema: addFederationRequest, example: { trustDomain: "west", profile: "https_web", endpointUrl: "https://bundles.west.example/" } },
      bodyLimitBytes: maxBodyBytes,
      success: { status: 201, description: "Federated.", content: { [mediaType.json]: federationSummary } },
      refusals: ["federation_refused", "federation_exists", "changed_meanwhile"],
      handle: async ({ caller, body }) => json(await federation.add(body, known(caller)), 201),
    }),
    operation({
      route: "GET /v1/federation/{trustDomain}",
      tag: "federation",
      summary: "Show a federated trust domain",
      description: "As it is in the list.",
      params: name,
      success: { status: 200, description: "It.", content: { [mediaType.json]: federationSummary } },
      refusals: ["not_found"],
      handle: async ({ params }) => json(await federation.get(params.trustDomain)),
    }),
    operation({
      route: "DELETE /v1/federation/{trustDomain}",
      tag: "federation",
      summary: "End federation with a trust domain",
      description: "Nobody of it is believed any more: proxies are told at once and cut the connections that are open. That it believes us is for it to end.",
      params: name,
      success: { status: 204, description: "Ended." },
      refusals: ["not_found", "federation_refused", "changed_meanwhile"],
      async handle({ caller, params }) {
        await federation.remove(params.trustDomain, known(caller));
        return noContent();
      },
    }),
    operation({
      route: "POST /v1/federation/{trustDomain}/refresh",
      tag: "federation",
      summary: "Look for its bundle now",
      description: "Refused with federation_failed where that fails; the last good bundle stays.",
      params: name,
      success: { status: 200, description: "It is the newest.", content: { [mediaType.json]: federationSummary } },
      refusals: ["not_found", "federation_failed"],
      handle: async ({ params }) => json(await federation.refresh(params.trustDomain)),
    }),
    operation({
      route: "POST /v1/federation/invitations",
      tag: "federation",
      summary: "Invite another Countersign CA",
      description: "One string for one CA, to be carried there by a way that is private: `POST /v1/federation/acceptances` of that CA takes it, and both trust each other's workloads.",
      body: { schema: inviteFederationRequest, example: { expiresInSeconds: 3600 } },
      success: { status: 201, description: "Made, with its secret.", content: { [mediaType.json]: federationInvitation } },
      refusals: ["changed_meanwhile"],
      handle: async ({ caller, body }) => json(await federation.invite(body, known(caller)), 201),
    }),
    operation({
      route: "POST /v1/federation/acceptances",
      tag: "federation",
      summary: "Accept an invitation",
      description: "Asks the CA that made it to take this one in, then takes that one in. May be repeated until the invitation ends. Compare the fingerprints with what the other side shows.",
      body: { schema: acceptFederationRequest, example: { invitation: "countersign_federate_..." } },
      success: { status: 200, description: "Both directions stand.", content: { [mediaType.json]: federationAcceptance } },
      refusals: ["invitation_refused", "federation_refused", "federation_exists", "federation_failed", "changed_meanwhile"],
      handle: async ({ caller, body }) => json(await federation.accept(body.invitation, known(caller))),
    }),
    operation({
      route: "POST /v1/federation/joins",
      tag: "federation",
      summary: "Join by an invitation",
      description: "From the CA that accepts it, on a connection whose server has the root of the invitation; the secret is what lets it in.",
      body: { schema: joinFederationRequest, example: { invitation: "5f0c6d1e2a3b4c5d", secret: "...", trustDomain: "east", apiUrl: "https://ca.east.example:8443", bundle: "{\"keys\":[]}" } },
      bodyLimitBytes: maxBodyBytes,
      success: { status: 200, description: "Taken in.", content: { [mediaType.json]: joinedFederation } },
      refusals: ["invitation_refused", "federation_refused", "federation_exists", "changed_meanwhile"],
      handle: async ({ body }) => json(await federation.join(body)),
    }),
    operation({
      route: "POST /v1/federation/acknowledgements",
      tag: "federation",
      summary: "Acknowledge a bundle as a federated CA",
      description: "The CA of another trust domain says which bundle of ours it has, with each look for it. A root is activated only when all of them have the one that carries it.",
      body: { schema: acknowledgeFederationRequest, example: { feedEpoch: "5f0c6d1e2a3b4c5d", bundleSequence: "2", proof: "eyJhbGciOi..." } },
      success: { status: 204, description: "Taken down, durably." },
      refusals: ["bundle_unknown", "proof_refused"],
      async handle({ body: { proof, ...held } }) {
        await federation.acknowledge(held, proof);
        return noContent();
      },
    }),
    operation({
      route: "GET /v1/federated-bundles",
      tag: "federation",
      summary: "Fetch the bundles of all federated trust domains",
      description: "What the watch event `federation` tells, whole: for whoever polls. With If-None-Match an unchanged set costs 304.",
      success: { status: 200, description: "All of them, by trust domain.", content: { [mediaType.json]: undefined } },
      async handle({ request }) {
        const { json: body, sequence } = await federation.bundles();
        return conditional(request, `"${feedEpoch}.${sequence}"`, () => ({ status: 200, body }));
      },
    }),
    operation({
      route: "GET /v1/bundle-map",
      tag: "federation",
      summary: "Fetch all bundles as a SPIFFE bundle map",
      description: "This trust domain's bundle and those of all that are federated with, in one document, for software that takes what it is to believe from one file. With If-None-Match an unchanged one costs 304.",
      success: { status: 200, description: "The bundle map.", content: { [mediaType.json]: undefined } },
      async handle({ request }) {
        const { json: body, version } = await federation.bundleMap();
        return conditional(request, `"${feedEpoch}.${version}"`, () => ({ status: 200, body }));
      },
    }),
  ];
}

/** The routes' rules have no public case, so there is a caller. */
function known(caller: Caller | undefined): Caller {
  if (caller === undefined) throw new Refusal("unauthenticated", "Whom to believe is decided by admins.");
  return caller;
}

const name = z.object({ trustDomain: z.string().min(1).max(255).openapi({ description: "Name of the trust domain.", example: "west" }) });
/** A bundle with all it may hold, as text in JSON. */
const maxBodyBytes = 1024 * 1024;
