import { z } from "@hono/zod-openapi";
import type { AuditEntryPage, ConsistencyProof, InclusionProof } from "../../contract/audit.ts";
import type { Is, Kept } from "./kept.ts";

const base64Hashes = z.array(z.string()).readonly().openapi({ description: "SHA-256 hashes, base64." });
export const auditEntryPage = z
  .object({
    entries: z
      .array(
        z
          .object({
            index: z.number().int(),
            body: z.string().openapi({ description: "The exact bytes that were hashed, as text (JSON)." }),
            leafHash: z.string().openapi({ description: "RFC 6962 leaf hash, base64." }),
          })
          .openapi("AuditEntry"),
      )
      .readonly(),
  })
  .openapi("AuditEntryPage");

export const inclusionProof = z
  .object({ index: z.number().int(), size: z.number().int(), hashes: base64Hashes })
  .openapi("InclusionProof");

export const consistencyProof = z
  .object({ oldSize: z.number().int(), size: z.number().int(), hashes: base64Hashes })
  .openapi("ConsistencyProof");

/** Does not compile where one of them differs from its type in the contract. */
export type AuditKeepTheContract = Kept<[
  Is<typeof auditEntryPage, AuditEntryPage>,
  Is<typeof inclusionProof, InclusionProof>,
  Is<typeof consistencyProof, ConsistencyProof>,
]>;
