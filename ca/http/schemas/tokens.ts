import { z } from "@hono/zod-openapi";
import type { CreatedToken, CreateTokenRequest, TokenPage, TokenSummary } from "../../contract/tokens.ts";
import type { Is, Kept } from "./kept.ts";
import { spiffeId, dnsNames, instant, seconds, nextCursor } from "./members.ts";
import { role, scope } from "./roles.ts";

export const createTokenRequest = z
  .discriminatedUnion(
    "type",
    [
      z.strictObject({
        type: z.literal("join"),
        spiffeId,
        dnsNames: dnsNames.optional(),
        expiresInSeconds: seconds.optional(),
      }),
      z.strictObject({
        type: z.literal("api"),
        name: z.string().min(1).max(64),
        role,
        scope: scope.optional(),
        expiresInSeconds: seconds.optional(),
      }),
    ],
    { error: "expected a type: join or api" },
  )
  .openapi("CreateTokenRequest");

const tokenShape = {
  id: z.string(),
  type: z.enum(["join", "api"]),
  createdAt: instant,
  createdBy: z.string(),
  expiresAt: instant.optional(),
  spiffeId: spiffeId.optional(),
  dnsNames: dnsNames.optional(),
  redeemedAt: instant.optional(),
  name: z.string().optional(),
  role: role.optional(),
  scope: scope.optional(),
  lastUsedAt: instant.optional().openapi({ description: "API tokens: to the hour; absent when never used." }),
};

const tokenSummary = z.object(tokenShape).openapi("TokenSummary");
export const createdToken = z
  .object({
    ...tokenShape,
    token: z.string().openapi({ description: "The secret: shown once, stored hashed." }),
    bootstrap: z.string().optional().openapi({ description: "Join tokens: the one string `countersign-proxy` needs." }),
  })
  .openapi("CreatedToken");

export const tokenPage = z.object({ tokens: z.array(tokenSummary).readonly(), nextCursor }).openapi("TokenPage");

/** Does not compile where one of them differs from its type in the contract. */
export type TokensKeepTheContract = Kept<[
  Is<typeof createTokenRequest, CreateTokenRequest>,
  Is<typeof tokenSummary, TokenSummary>,
  Is<typeof createdToken, CreatedToken>,
  Is<typeof tokenPage, TokenPage>,
]>;
