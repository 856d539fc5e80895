import { z } from "@hono/zod-openapi";
import { authorityStates, authorityTypes, type AuthorityAnswer, type AuthorityList, type AuthorityStepRequest, type PrepareAuthorityRequest, type RotateAuthorityRequest } from "../../contract/authorities.ts";
import type { Is, Kept } from "./kept.ts";
import { spiffeId, instant, serialNumber } from "./members.ts";

const authorityHolder = z
  .object({ spiffeId, serialNumber, acknowledgedSequence: z.string(), notAfter: instant })
  .openapi("AuthorityHolder", { description: "Whoever depends on an authority, by its newest certificate." });

const holders = z.array(authorityHolder).readonly();
const authority = z
  .object({
    id: z.string(),
    type: z.enum(authorityTypes),
    state: z.enum(authorityStates),
    subject: z.string(),
    keyAlgorithm: z.string(),
    fingerprint: z.string(),
    notBefore: instant,
    notAfter: instant,
    certificate: z.string().openapi({ description: "PEM." }),
    key: z.enum(["sealed", "kms", "pkcs11", "offline", "upstream"]).openapi({ description: "Where its private key is." }),
    parentId: z.string().optional().openapi({ description: "Whose key signed it." }),
    publishedSequence: z.string().optional().openapi({ description: "Root: of the bundle that first had it." }),
    activateAt: instant.optional(),
    lastCertificateNotAfter: instant.optional(),
    waitsFor: z.object({ count: z.number().int(), holders }).optional().openapi({ description: "Prepared root: who does not trust it yet, the first ten." }),
  })
  .openapi("Authority");

export const authorityList = z.object({ authorities: z.array(authority).readonly() }).openapi("AuthorityList");
export const prepareAuthorityRequest = z.strictObject({ type: z.literal("root") }).openapi("PrepareAuthorityRequest");
export const rotateAuthorityRequest = z.strictObject({ type: z.enum(["root", "issuer", "jwt"]) }).openapi("RotateAuthorityRequest");
export const authorityStepRequest = z
  .strictObject({ force: z.boolean().optional().openapi({ description: "Also where holders are cut off by it; recorded as forced." }) })
  .openapi("AuthorityStepRequest");

export const authorityAnswer = z
  .object({
    authorities: z.array(authority).readonly().openapi({ description: "Those that changed, as they are now." }),
    holdersAffected: z.number().int().openapi({ description: "How many a forced step cut off, up to 1000." }),
    holders: holders.openapi({ description: "The first ten of them." }),
  })
  .openapi("AuthorityAnswer");

/** Does not compile where one of them differs from its type in the contract. */
export type AuthoritiesKeepTheContract = Kept<[
  Is<typeof authorityList, AuthorityList>,
  Is<typeof prepareAuthorityRequest, PrepareAuthorityRequest>,
  Is<typeof rotateAuthorityRequest, RotateAuthorityRequest>,
  Is<typeof authorityStepRequest, AuthorityStepRequest>,
  Is<typeof authorityAnswer, AuthorityAnswer>,
]>;
