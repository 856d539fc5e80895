import { z } from "@hono/zod-openapi";
import { mediaType } from "../contract/headers.ts";
import type { IssuedJwtSvid, IssueJwtSvidRequest } from "../contract/jwt-svids.ts";
import { Refusal } from "../refusal.ts";
import { json } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import type { CaServices } from "./services.ts";

/** Tokens for what cannot do mutual TLS. */
export function jwtSvidOperations(services: Pick<CaServices, "issueJwtSvid">): readonly Operation[] {
  return [
    operation({
      route: "POST /v1/jwt-svids",
      tag: "certificates",
      summary: "Issue a JWT-SVID",
      description:
        "A signed token that says who its bearer is, to one audience, for minutes. A workload signs the request with its SVID and gets one for its own " +
        "ID; an operator names the ID. The first one ever makes the keys, which are in the bundle from then on (`use` jwt-svid).",
      body: { schema: issueJwtSvidRequest, example: { audience: ["spiffe://east/ns/shop/sa/stock"] } },
      success: { status: 201, description: "Issued, and on record.", content: { [mediaType.json]: issuedJwtSvid } },
      refusals: ["spiffe_id_refused", "lifetime_refused", "issuer_unavailable", "clock_uncertain", "lint_failed"],
      async handle({ caller, body }) {
        // The route's rule has no public case, so there is a caller; if it ever had, nobody must not be told who they are.
        if (caller === undefined) throw new Refusal("unauthenticated", "A JWT-SVID is for callers that are known.");
        return json(await services.issueJwtSvid(body, caller), 201);
      },
    }),
  ];
}

const audience = z.array(z.string().min(1).max(255).regex(/^[\x21-\x7e]+$/, "printable ASCII without spaces")).min(1).max(8).readonly().openapi({
  example: ["spiffe://east/ns/shop/sa/stock"], description: "Who is to believe it: best one name only, as each of them could use it at the others.",
});
const spiffeId = z.string().min(1).max(2048).openapi({ example: "spiffe://east/ns/shop/sa/cart" });
const issueJwtSvidRequest: z.ZodType<IssueJwtSvidRequest> = z
  .strictObject({
    audience,
    spiffeId: spiffeId.optional().openapi({ description: "Whose token; default the caller's own." }),
    lifetimeSeconds: z.number().int().min(1).optional().openapi({ description: "Default the setting jwtSvidLifetime, 300." }),
  })
  .openapi("IssueJwtSvidRequest");
const instant = z.string().openapi({ format: "date-time" });
const issuedJwtSvid: z.ZodType<IssuedJwtSvid> = z
  .object({
    token: z.string().openapi({ description: "A secret, until it expires." }),
    spiffeId, audience, issuedAt: instant, expiresAt: instant,
    keyId: z.string().openapi({ description: "`kid` of the key, as in the bundle." }),
    logIndex: z.number().int(),
  })
  .openapi("IssuedJwtSvid");
