import { z } from "@hono/zod-openapi";
import { issuerProfiles, type IssuedIssuer, type IssueIssuerRequest, type IssuerPage } from "../../contract/issuers.ts";
import { revocationReasons } from "../../contract/revocations.ts";
import type { Is, Kept } from "./kept.ts";
import { maxCsrLength, instant, seconds, serialNumber, logIndex, nextCursor } from "./members.ts";

export const issueIssuerRequest = z
  .strictObject({
    csr: z.string().min(1).max(maxCsrLength).openapi({ description: "PKCS#10, PEM or base64 DER. Only its key is used." }),
    profile: z.enum(issuerProfiles).openapi({ description: "The software it is for." }),
    trustDomain: z.string().min(1).max(255).openapi({ description: "What the other CA issues for; never this CA's own.", example: "west" }),
    lifetimeSeconds: seconds.optional().openapi({ description: "Default 48 h; the ceiling is foreignIssuerLifetimeMax." }),
    uriConstraint: z.boolean().optional().openapi({ description: "May it issue SPIFFE IDs of its trust domain only? Default: true for countersign." }),
    dnsDomains: z.array(z.string().min(1).max(253)).max(16).readonly().optional().openapi({
      description:
        "Domains it may issue DNS names below. Default for linkerd: identity.linkerd.<trust domain>; otherwise any for an admin, none for an operator, whose " +
        "scope must have each other domain and all below it (`dns:`).",
      example: ["identity.linkerd.cluster.local"],
    }),
  })
  .openapi("IssueIssuerRequest");

export const issuedIssuer = z
  .object({
    serialNumber,
    trustDomain: z.string(),
    notBefore: instant,
    notAfter: instant,
    chain: z.string().openapi({ description: "PEM: the issuer, then what signed it unless that is a root." }),
    anchors: z.string().openapi({ description: "PEM: the roots it chains to." }),
    logIndex,
  })
  .openapi("IssuedIssuer");

export const issuerPage = z
  .object({
    issuers: z
      .array(
        z
          .object({
            serialNumber,
            trustDomain: z.string(),
            subject: z.string(),
            keyAlgorithm: z.string(),
            notBefore: instant,
            notAfter: instant,
            authorityId: z.string().openapi({ description: "Subject key identifier of what signed it, hex." }),
            fingerprint: z.string().openapi({ description: "SHA-256 of the DER, hex." }),
            status: z.enum(["valid", "expired", "revoked"]),
            revokedAt: instant.optional(),
            revocationReason: z.enum(revocationReasons).optional(),
            logIndex,
          })
          .openapi("Issuer"),
      )
      .readonly(),
    nextCursor,
  })
  .openapi("IssuerPage");

/** Does not compile where one of them differs from its type in the contract. */
export type IssuersKeepTheContract = Kept<[
  Is<typeof issueIssuerRequest, IssueIssuerRequest>,
  Is<typeof issuedIssuer, IssuedIssuer>,
  Is<typeof issuerPage, IssuerPage>,
]>;
