import { z } from "@hono/zod-openapi";
import type { AuthoritySummary } from "../contract/authorities.ts";
import { feedEpochHeader, mediaType } from "../contract/headers.ts";
import { Refusal } from "../refusal.ts";
import { conditional, json, noContent, wantsPem, type Answer } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import { acknowledgeRequest } from "./schemas/acknowledgements.ts";
import { authorityAnswer, authorityList, authorityStepRequest, prepareAuthorityRequest, rotateAuthorityRequest } from "./schemas/authorities.ts";
import { isInView } from "./scope.ts";
import type { Caller, CaServices } from "./services.ts";

/** Whom to trust: roots and issuers, and the bundle made of the roots. */
export function trustOperations(services: CaServices): readonly Operation[] {
  return [
    operation({
      route: "GET /v1/authorities",
      tag: "trust",
      summary: "List roots and issuers",
      description: "With their states and certificates; keys never leave the CA. Of whom a prepared root waits for, an operator sees who is in its scope.",
      success: { status: 200, description: "All of them.", content: { [mediaType.json]: authorityList } },
      handle: async ({ caller }) => json({ authorities: (await services.authorities()).map((one) => withinView(one, caller)) }),
    }),
    operation({
      route: "POST /v1/authorities",
      tag: "trust",
      summary: "Prepare a root",
      description: "Makes the successor of the active root and publishes it in the bundle. Nothing is signed with it before it is activated.",
      body: { schema: prepareAuthorityRequest, example: { type: "root" } },
      success: { status: 201, description: "Prepared.", content: { [mediaType.json]: authorityAnswer } },
      refusals: ["authority_state", "issuer_unavailable"],
      handle: async ({ caller }) => json(await services.operateAuthority({ action: "prepare" }, known(caller)), 201),
    }),
    operation({
      route: "POST /v1/authorities/rotate",
      tag: "trust",
      summary: "Replace the issuer, the root, or the JWT key",
      description:
        "An issuer is replaced at once. A root is prepared, if none is, and takes over without further ado as soon as every holder of a live certificate " +
        "has acknowledged the bundle that has it; `GET /v1/authorities` tells who is missing. So does the next JWT key; the first one signs at once.",
      body: { schema: rotateAuthorityRequest, example: { type: "root" } },
      success: { status: 200, description: "Begun.", content: { [mediaType.json]: authorityAnswer } },
      refusals: ["authority_state", "issuer_unavailable"],
      handle: async ({ caller, body }) => json(await services.operateAuthority({ action: "rotate", type: body.type }, known(caller))),
    }),
    ...steps.map(({ action, summary, description }) => operation({
      route: `POST /v1/authorities/{id}/${action}`,
      tag: "trust",
      summary,
      description: `${description} Refused with authority_held_back and their names while it would cut off holders; with \`force\` it is done all the same, and recorded as forced.`,
      params: authorityParameter,
      body: { schema: authorityStepRequest, example: {} },
      success: { status: 200, description: "Done.", content: { [mediaType.json]: authorityAnswer } },
      refusals: ["not_found", "authority_state", "authority_held_back", "issuer_unavailable"],
      handle: async ({ caller, params, body }) => json(await services.operateAuthority({ action, id: params.id, force: body.force }, known(caller))),
    })),
    operation({
      route: "GET /v1/bundle",
      tag: "trust",
      summary: "Fetch the trust bundle",
      description:
        "The trust domain's anchors and JWT keys as a SPIFFE bundle (JWK Set), or the anchors with `Accept: application/x-pem-file` as PEM. " +
        "With If-None-Match an unchanged bundle costs 304.",
      success: {
        status: 200,
        description: "The bundle.",
        content: { [mediaType.json]: undefined, [mediaType.pem]: undefined },
      },
      handle({ request }) {
        const { jwks, pem, sequence } = services.bundle();
        const tag = `${services.feedEpoch}.${sequence}`;
        const headers = { [feedEpochHeader]: services.feedEpoch };
        if (wantsPem(request))
          return conditional(request, `"${tag}-pem"`, (): Answer => ({
            status: 200,
            body: pem,
            contentType: mediaType.pem,
            headers,
          }));
        return conditional(request, `"${tag}"`, () => ({ status: 200, body: jwks, headers }));
      },
    }),
    operation({
      route: "POST /v1/acknowledgements",
      tag: "trust",
      summary: "Acknowledge a bundle",
      description:
        "The holder of a certificate says which bundle it trusts by now. A root is activated only when all holders have acknowledged " +
        "the bundle that carries it.",
      body: { schema: acknowledgeRequest, example: { feedEpoch: "5f0c6d1e2a3b4c5d", bundleSequence: "2", proof: "eyJhbGciOi..." } },
      success: { status: 204, description: "Taken down, durably." },
      refusals: ["bundle_unknown", "proof_refused", "certificate_expired", "certificate_revoked", "unauthenticated"],
      async handle({ body }) {
        await services.acknowledge(body);
        return noContent();
      },
    }),
  ];
}

/** How many there are is no secret; who they are is for whoever answers for them. */
function withinView(authority: AuthoritySummary, caller: Caller | undefined): AuthoritySummary {
  const { waitsFor } = authority;
  if (waitsFor === undefined) return authority;
  return { ...authority, waitsFor: { ...waitsFor, holders: waitsFor.holders.filter(({ spiffeId }) => isInView(caller, spiffeId)) } };
}

/** The routes' rules have no public case, so there is a caller. */
function known(caller: Caller | undefined): Caller {
  if (caller === undefined) throw new Refusal("unauthenticated", "Authorities are changed by callers with an API token.");
  return caller;
}

const authorityParameter = z.object({
  id: z
    .string()
    .regex(/^[0-9a-f]{2,128}$/, "expected the authority's ID, lower-case hex, as GET /v1/authorities shows it")
    .openapi({ description: "The authority's ID: its subject key identifier, hex." }),
});

const steps = [
  { action: "activate", summary: "Activate a prepared authority", description: "It signs from now on, and the one it replaces retires." },
  {
    action: "taint", summary: "Taint an authority",
    description: "Its key may be known to others: another one signs from now on, and whoever has a certificate from it renews within the window.",
  },
  { action: "revoke", summary: "Revoke an authority", description: "What it and those below it signed is refused from now on. It cannot be undone." },
  { action: "retire", summary: "Retire an authority", description: "It leaves the bundle, once nothing below it is valid any more." },
] as const;
