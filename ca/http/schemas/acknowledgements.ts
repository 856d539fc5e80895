import { z } from "@hono/zod-openapi";
import type { AcknowledgeRequest } from "../../contract/acknowledgements.ts";
import type { Is, Kept } from "./kept.ts";
import { maxProofLength, feedEpoch, heldSequence } from "./members.ts";

export const acknowledgeRequest = z
  .strictObject({
    feedEpoch,
    bundleSequence: heldSequence,
    proof: z.string().min(1).max(maxProofLength).openapi({ description: "By the key of a certificate that is valid now." }),
  })
  .openapi("AcknowledgeRequest");

/** Does not compile where one of them differs from its type in the contract. */
export type AcknowledgementsKeepTheContract = Kept<[
  Is<typeof acknowledgeRequest, AcknowledgeRequest>,
]>;
