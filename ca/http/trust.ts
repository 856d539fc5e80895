import { feedEpochHeader, mediaType } from "../contract.ts";
import { conditional, json, noContent, wantsPem, type Answer } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import { acknowledgeRequest, authorityList } from "./schemas.ts";
import type { CaServices } from "./services.ts";

/** Whom to trust: roots and issuers, and the bundle made of the roots. */
export function trustOperations(services: CaServices): readonly Operation[] {
  return [
    operation({
      route: "GET /v1/authorities",
      tag: "trust",
      summary: "List roots and issuers",
      description: "With their states and certificates; keys never leave the CA.",
      success: { status: 200, description: "All of them.", content: { [mediaType.json]: authorityList } },
      handle: async () => json({ authorities: await services.authorities() }),
    }),
    operation({
      route: "GET /v1/bundle",
      tag: "trust",
      summary: "Fetch the trust bundle",
      description:
        "The trust domain's anchors as a SPIFFE bundle (JWK Set), or with `Accept: application/x-pem-file` as PEM. " +
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
