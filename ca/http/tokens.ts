import { z } from "@hono/zod-openapi";
import { mediaType } from "../contract/headers.ts";
import { Refusal } from "../refusal.ts";
import { summarizeToken } from "../tokens.ts";
import { json, noContent } from "./answer.ts";
import { encodeCursor, parseCursor } from "./cursor.ts";
import { operation, type Operation } from "./operation.ts";
import { cursor, defaultLimit, limit } from "./parameters.ts";
import { createdToken, createTokenRequest, tokenPage } from "./schemas/tokens.ts";
import { viewOf } from "./scope.ts";
import type { Caller, CaServices } from "./services.ts";

/** Join tokens, which make workloads; API tokens, which make callers. */
export function tokenOperations(services: CaServices): readonly Operation[] {
  const { store, trustDomain } = services;
  return [
    operation({
      route: "POST /v1/tokens",
      tag: "tokens",
      summary: "Create a join token or an API token",
      description:
        "An operator creates join tokens for IDs in its scope; API tokens are made by admins. The secret is in " +
        "this answer and nowhere else.",
      body: {
        schema: createTokenRequest,
        example: { type: "join", spiffeId: `spiffe://${trustDomain}/ns/shop/sa/cart` },
      },
      success: { status: 201, description: "Created, with its secret.", content: { [mediaType.json]: createdToken } },
      refusals: ["spiffe_id_refused", "dns_name_refused"],
      async handle({ caller, body }) {
        return json(await services.createToken(body, known(caller)), 201);
      },
    }),
    operation({
      route: "GET /v1/tokens",
      tag: "tokens",
      summary: "List tokens",
      description: "Newest first, without their secrets; deleted ones are gone. An operator sees the join tokens in its scope.",
      query: z.strictObject({ limit, cursor }),
      success: { status: 200, description: "A page.", content: { [mediaType.json]: tokenPage } },
      async handle({ caller, query }) {
        const within = viewOf(caller);
        const { limit: pageSize = defaultLimit } = query;
        const rows = await store.tokens({
          limit: pageSize + 1,
          ...(within !== undefined && { within }),
          ...(query.cursor !== undefined && { before: parseCursor(query.cursor) }),
        });
        const page = rows.slice(0, pageSize);
        const last = page.at(-1);
        return json({
          tokens: page.map(summarizeToken),
          ...(rows.length > pageSize && last !== undefined && { nextCursor: encodeCursor(last.id) }),
        });
      },
    }),
    operation({
      route: "DELETE /v1/tokens/{id}",
      tag: "tokens",
      summary: "Delete a token",
      description:
        "It stops working at once; certificates it gave stay valid until they expire or are revoked. API tokens " +
        "are deleted by admins.",
      params: z.object({
        id: z
          .string()
          .regex(/^[\w-]{1,64}$/, "expected a token's id, not its secret")
          .openapi({ description: "The token's id." }),
      }),
      success: { status: 204, description: "Deleted." },
      refusals: ["not_found"],
      async handle({ caller, params }) {
        await services.deleteToken(params.id, known(caller));
        return noContent();
      },
    }),
  ];
}

/** The routes' rules have no public case, so there is a caller; if one ever had, nobody must not make tokens. */
function known(caller: Caller | undefined): Caller {
  if (caller === undefined) throw new Refusal("unauthenticated", "Tokens are for callers with an API token.");
  return caller;
}
