import { z } from "@hono/zod-openapi";
import { revocationReasons, type Revocation, type RevocationPage, type RevokeRequest } from "../../contract/revocations.ts";
import type { Is, Kept } from "./kept.ts";
import { instant, serialNumber, feedEpoch } from "./members.ts";

export const revokeRequest = z
  .strictObject({ reason: z.enum(revocationReasons).openapi({ description: "RFC 5280 5.3.1." }) })
  .openapi("RevokeRequest");

export const sequence = z.number().int().openapi({ description: "Rises strictly." });
export const revocation = z
  .object({
    sequence,
    serialNumber,
    reason: z.enum(revocationReasons),
    revokedAt: instant,
    notAfter: instant.openapi({ description: "From then on the entry may be forgotten." }),
    authority: z.literal(true).optional().openapi({ description: "When the feed is polled: of a CA, so that all it signed is refused." }),
  })
  .openapi("Revocation");

export const revocationPage = z
  .object({
    revocations: z.array(revocation).readonly(),
    sequence: sequence.openapi({ description: "The `after` of the next request." }),
    more: z.boolean().openapi({ description: "More entries wait: ask again at once." }),
    feedEpoch,
    renew: z
      .array(z.object({ authorityId: z.string(), windowSeconds: z.number().int() }).openapi("RenewNotice"))
      .readonly()
      .openapi({ description: "Whoever has one of these authorities in its chain renews within the window." }),
  })
  .openapi("RevocationPage");

/** Does not compile where one of them differs from its type in the contract. */
export type RevocationsKeepTheContract = Kept<[
  Is<typeof revokeRequest, RevokeRequest>,
  Is<typeof revocation, Revocation>,
  Is<typeof revocationPage, RevocationPage>,
]>;
