import { z } from "@hono/zod-openapi";
import type { Attestation } from "../../contract/attestation.ts";
import type { IssuedCertificate, IssueRequest } from "../../contract/certificates.ts";
import type { Is, Kept } from "./kept.ts";
import { maxCsrLength, maxProofLength, spiffeId, dnsNames, ipAddresses, instant, seconds, serialNumber, logIndex, feedEpoch, heldSequence } from "./members.ts";

const attestor = z.string().min(1).max(63).optional().openapi({ description: "By its name in the CA's settings; needed where there are several of the type." });
const foreignToken = z.string().min(1).max(16 * 1024).openapi({ description: "JWT, for the attestor's audience." });
export const attestation = z
  .discriminatedUnion(
    "type",
    [
      z.strictObject({
        type: z.literal("join-token"),
        token: z.string().min(1).max(512),
        proof: z.string().min(1).max(maxProofLength).optional(),
      }),
      z.strictObject({ type: z.literal("svid"), proof: z.string().min(1).max(maxProofLength) }),
      z.strictObject({ type: z.literal("operator"), spiffeId, dnsNames: dnsNames.optional(), ipAddresses: ipAddresses.optional() }),
      z.strictObject({ type: z.literal("kubernetes"), attestor, token: foreignToken }),
      z.strictObject({ type: z.literal("oidc"), attestor, token: foreignToken }),
      z.strictObject({ type: z.literal("x509"), attestor, proof: z.string().min(1).max(maxProofLength) }),
      z.strictObject({
        type: z.literal("aws-iam"), attestor,
        region: z.string().min(1).max(32), date: z.string().length(16), authorization: z.string().min(1).max(1024), sessionToken: z.string().min(1).max(8192).optional(),
      }),
    ],
    { error: "expected a type: join-token, svid, operator, kubernetes, oidc, x509 or aws-iam" },
  )
  .openapi("Attestation", { description: "Who asks, and the proof of it." });

export const issueRequest = z
  .strictObject({
    csr: z
      .string()
      .min(1)
      .max(maxCsrLength)
      .openapi({
        description: "PKCS#10, PEM or base64 DER. Only its key is used; the names come from the attestation.",
      }),
    attestation,
    lifetimeSeconds: seconds.optional().openapi({ description: "Default and ceiling are the CA's settings." }),
    feedEpoch: feedEpoch.optional(),
    bundleSequence: heldSequence.optional(),
  })
  .openapi("IssueRequest");

export const issuedCertificate = z
  .object({
    serialNumber,
    spiffeId,
    notBefore: instant,
    notAfter: instant,
    chain: z.string().openapi({ description: "PEM: the certificate, then its issuer. The root is in the bundle." }),
    bundles: z.record(z.string(), z.unknown()).openapi({ description: "SPIFFE bundles (JWK Sets) by trust domain." }),
    bundleSequence: z.string().openapi({ example: "1" }),
    feedEpoch,
    logIndex,
  })
  .openapi("IssuedCertificate");

/** Does not compile where one of them differs from its type in the contract. */
export type IssuingKeepTheContract = Kept<[
  Is<typeof attestation, Attestation>,
  Is<typeof issueRequest, IssueRequest>,
  Is<typeof issuedCertificate, IssuedCertificate>,
]>;
