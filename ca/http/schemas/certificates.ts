import { z } from "@hono/zod-openapi";
import type { CertificateDetail, CertificatePage, CertificateSummary } from "../../contract/certificates.ts";
import { revocationReasons } from "../../contract/revocations.ts";
import type { Is, Kept } from "./kept.ts";
import { spiffeId, dnsNames, instant, serialNumber, logIndex, nextCursor } from "./members.ts";

const summaryShape = {
  serialNumber,
  spiffeId,
  dnsNames,
  notBefore: instant,
  notAfter: instant,
  authorityId: z.string().openapi({ description: "Subject key identifier of the issuer, hex." }),
  attestation: z.enum(["join-token", "svid", "operator", "kubernetes", "oidc", "x509", "aws-iam", "acme", "system", "issuer"]),
  fingerprint: z.string().openapi({ description: "SHA-256 of the DER, hex." }),
  status: z.enum(["valid", "expired", "revoked"]),
  revokedAt: instant.optional(),
  revocationReason: z.enum(revocationReasons).optional(),
  logIndex,
};

const certificateSummary = z.object(summaryShape).openapi("CertificateSummary");
export const certificateDetail = z
  .object({ ...summaryShape, chain: z.string().openapi({ description: "PEM: the certificate, then its issuer." }) })
  .openapi("CertificateDetail");

export const certificatePage = z
  .object({ certificates: z.array(certificateSummary).readonly(), nextCursor })
  .openapi("CertificatePage");

/** Does not compile where one of them differs from its type in the contract. */
export type CertificatesKeepTheContract = Kept<[
  Is<typeof certificateSummary, CertificateSummary>,
  Is<typeof certificateDetail, CertificateDetail>,
  Is<typeof certificatePage, CertificatePage>,
]>;
