import { z } from "@hono/zod-openapi";
import type { AcknowledgeRequest } from "../contract/acknowledgements.ts";
import type { Attestation } from "../contract/attestation.ts";
import type { AuditEntryPage, ConsistencyProof, InclusionProof } from "../contract/audit.ts";
import {
  authorityStates, authorityTypes, type AuthorityAnswer, type AuthorityList, type AuthorityStepRequest, type PrepareAuthorityRequest,
  type RotateAuthorityRequest,
} from "../contract/authorities.ts";
import type { CertificateDetail, CertificatePage, CertificateSummary, IssuedCertificate, IssueRequest } from "../contract/certificates.ts";
import type { ClockConfirmation, ConfirmClockRequest } from "../contract/clock.ts";
import { issuerProfiles, type IssuedIssuer, type IssueIssuerRequest, type IssuerPage } from "../contract/issuers.ts";
import type { CreateOperatorRequest, OperatorList, OperatorSummary } from "../contract/operators.ts";
import { problemStatus, type Problem, type ProblemCode } from "../contract/problem.ts";
import { revocationReasons, type Revocation, type RevocationPage, type RevokeRequest } from "../contract/revocations.ts";
import { roles } from "../contract/roles.ts";
import type { CreatedToken, CreateTokenRequest, TokenPage, TokenSummary } from "../contract/tokens.ts";
import type { Readiness } from "../contract/vitals.ts";

/**
 * The contract's shapes as zod schemas. Requests are strict: a member we do not know is a member somebody relies on in
 * vain. The table at the end of the file makes the compiler compare each with its type in `ca/contract/`.
 */

/** Base64 of a CSR with an RSA-4096 key is below 2 KiB. */
const maxCsrLength = 16 * 1024;
/** As in `ca/pki/renewal-proof.ts`. */
const maxProofLength = 64 * 1024;

const spiffeId = z.string().min(1).max(2048).openapi({ example: "spiffe://east/ns/shop/sa/cart" });
const dnsNames = z
  .array(z.string().min(1).max(253))
  .max(64)
  .readonly()
  .openapi({ example: ["cart.shop.svc"] });
const ipAddresses = z.array(z.string().min(2).max(45)).max(16).readonly().openapi({
  description: "An admin's to give, within the ranges of the ID's profile.",
  example: ["10.1.2.3"],
});
const instant = z.string().openapi({ format: "date-time", example: "2026-11-21T05:00:00.000Z" });
const seconds = z.number().int().min(1).max(2_000_000_000);
const serialNumber = z
  .string()
  .openapi({ description: "128 random bits, lower-case hex.", example: "6f1c9d02a7b34e58c1d0e9f8a7b6c5d4" });
const logIndex = z.number().int().openapi({ description: "Index of the issuance in the audit log." });
const base64Hashes = z.array(z.string()).readonly().openapi({ description: "SHA-256 hashes, base64." });

const attestor = z.string().min(1).max(63).optional().openapi({ description: "By its name in the CA's settings; needed where there are several of the type." });
const foreignToken = z.string().min(1).max(16 * 1024).openapi({ description: "JWT, for the attestor's audience." });
const attestation = z
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

const feedEpoch = z.string().max(64).openapi({ description: "Of the feed that the sequence belongs to; new after a restore." });
const heldSequence = z
  .string()
  .regex(/^\d{1,20}$/, "expected decimal digits")
  .openapi({ description: "Of the bundle that the caller holds.", example: "1" });

export const acknowledgeRequest = z
  .strictObject({
    feedEpoch,
    bundleSequence: heldSequence,
    proof: z.string().min(1).max(maxProofLength).openapi({ description: "By the key of a certificate that is valid now." }),
  })
  .openapi("AcknowledgeRequest");

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
export const certificateSummary = z.object(summaryShape).openapi("CertificateSummary");
export const certificateDetail = z
  .object({ ...summaryShape, chain: z.string().openapi({ description: "PEM: the certificate, then its issuer." }) })
  .openapi("CertificateDetail");
const nextCursor = z.string().optional().openapi({ description: "`cursor` of the next page; absent on the last one." });
export const certificatePage = z
  .object({ certificates: z.array(certificateSummary).readonly(), nextCursor })
  .openapi("CertificatePage");

export const revokeRequest = z
  .strictObject({ reason: z.enum(revocationReasons).openapi({ description: "RFC 5280 5.3.1." }) })
  .openapi("RevokeRequest");
const sequence = z.number().int().openapi({ description: "Rises strictly." });
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

const role = z
  .enum(roles)
  .openapi({
    description: "admin: everything. operator: issue, revoke, make join tokens and read, all within its scope. auditor: read everything.",
  });
const scope = z
  .array(z.string().min(1).max(2048))
  .max(64)
  .readonly()
  .openapi({
    description:
      "SPIFFE IDs, or prefixes ending in `/*`. An operator gives DNS names only where its scope has them too: " +
      "`dns:cart.shop.svc`, or `dns:*.shop.svc` for all below; and has issuers signed only for what it names as `issuer:west`.",
    example: ["spiffe://east/ns/shop/*", "dns:*.shop.svc"],
  });
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
export const createOperatorRequest = z
  .strictObject({
    spiffeId: spiffeId.openapi({ description: "A SPIFFE ID, or a prefix ending in `/*`; of several bindings the most specific counts." }),
    role,
    scope: scope.optional(),
  })
  .openapi("CreateOperatorRequest");
export const operatorSummary = z
  .object({ spiffeId, role, scope: scope.optional(), createdAt: instant, createdBy: z.string() })
  .openapi("Operator");
export const operatorList = z.object({ operators: z.array(operatorSummary).readonly() }).openapi("OperatorList");
export const confirmClockRequest = z
  .strictObject({ time: z.iso.datetime().openapi({ description: "By a clock that is not the CA's, UTC.", example: "2026-03-01T12:00:00Z" }) })
  .openapi("ConfirmClockRequest");
export const clockConfirmation = z
  .object({ time: instant.openapi({ description: "The CA's." }), doubt: z.string().optional().openapi({ description: "What was wrong with it until now." }) })
  .openapi("ClockConfirmation");
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
  lastUsedAt: instant.optional().openapi({ description: "API tokens: to the minute; absent when never used." }),
};
export const tokenSummary = z.object(tokenShape).openapi("TokenSummary");
export const createdToken = z
  .object({
    ...tokenShape,
    token: z.string().openapi({ description: "The secret: shown once, stored hashed." }),
    bootstrap: z.string().optional().openapi({ description: "Join tokens: the one string `countersign-proxy` needs." }),
  })
  .openapi("CreatedToken");
export const tokenPage = z.object({ tokens: z.array(tokenSummary).readonly(), nextCursor }).openapi("TokenPage");

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

export const readiness = z.object({
  ready: z.boolean(),
  reasons: z.array(z.string()).readonly(),
  warnings: z.array(z.string()).readonly().optional(),
}).openapi("Readiness");
export const problem = z
  .object({
    type: z.string().openapi({ example: "urn:countersign:problem:not_found" }),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    code: z.enum(Object.keys(problemStatus) as [ProblemCode, ...ProblemCode[]]),
  })
  .openapi("Problem", { description: "RFC 9457 problem document: `code` is stable, `detail` is for people." });

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;
/** Fails to compile when a schema and its type in the contract differ in either direction. */
type Is<Schema extends z.ZodType, Type> = Same<z.infer<Schema>, Type>;
/** Every row is `true`, or does not compile. */
export const schemasKeepTheContract: {
  readonly attestation: Is<typeof attestation, Attestation>;
  readonly acknowledgeRequest: Is<typeof acknowledgeRequest, AcknowledgeRequest>;
  readonly issueRequest: Is<typeof issueRequest, IssueRequest>;
  readonly issuedCertificate: Is<typeof issuedCertificate, IssuedCertificate>;
  readonly certificateSummary: Is<typeof certificateSummary, CertificateSummary>;
  readonly certificateDetail: Is<typeof certificateDetail, CertificateDetail>;
  readonly certificatePage: Is<typeof certificatePage, CertificatePage>;
  readonly revokeRequest: Is<typeof revokeRequest, RevokeRequest>;
  readonly revocation: Is<typeof revocation, Revocation>;
  readonly revocationPage: Is<typeof revocationPage, RevocationPage>;
  readonly createTokenRequest: Is<typeof createTokenRequest, CreateTokenRequest>;
  readonly confirmClockRequest: Is<typeof confirmClockRequest, ConfirmClockRequest>;
  readonly clockConfirmation: Is<typeof clockConfirmation, ClockConfirmation>;
  readonly createOperatorRequest: Is<typeof createOperatorRequest, CreateOperatorRequest>;
  readonly operatorSummary: Is<typeof operatorSummary, OperatorSummary>;
  readonly operatorList: Is<typeof operatorList, OperatorList>;
  readonly tokenSummary: Is<typeof tokenSummary, TokenSummary>;
  readonly createdToken: Is<typeof createdToken, CreatedToken>;
  readonly tokenPage: Is<typeof tokenPage, TokenPage>;
  readonly issueIssuerRequest: Is<typeof issueIssuerRequest, IssueIssuerRequest>;
  readonly issuedIssuer: Is<typeof issuedIssuer, IssuedIssuer>;
  readonly issuerPage: Is<typeof issuerPage, IssuerPage>;
  readonly authorityList: Is<typeof authorityList, AuthorityList>;
  readonly prepareAuthorityRequest: Is<typeof prepareAuthorityRequest, PrepareAuthorityRequest>;
  readonly rotateAuthorityRequest: Is<typeof rotateAuthorityRequest, RotateAuthorityRequest>;
  readonly authorityStepRequest: Is<typeof authorityStepRequest, AuthorityStepRequest>;
  readonly authorityAnswer: Is<typeof authorityAnswer, AuthorityAnswer>;
  readonly auditEntryPage: Is<typeof auditEntryPage, AuditEntryPage>;
  readonly inclusionProof: Is<typeof inclusionProof, InclusionProof>;
  readonly consistencyProof: Is<typeof consistencyProof, ConsistencyProof>;
  readonly readiness: Is<typeof readiness, Readiness>;
  readonly problem: Is<typeof problem, Problem>;
} = {
  attestation: true,
  acknowledgeRequest: true,
  issueRequest: true,
  issuedCertificate: true,
  certificateSummary: true,
  certificateDetail: true,
  certificatePage: true,
  revokeRequest: true,
  revocation: true,
  revocationPage: true,
  createTokenRequest: true,
  confirmClockRequest: true,
  clockConfirmation: true,
  createOperatorRequest: true,
  operatorSummary: true,
  operatorList: true,
  tokenSummary: true,
  createdToken: true,
  tokenPage: true,
  issueIssuerRequest: true,
  issuedIssuer: true,
  issuerPage: true,
  authorityList: true,
  prepareAuthorityRequest: true,
  rotateAuthorityRequest: true,
  authorityStepRequest: true,
  authorityAnswer: true,
  auditEntryPage: true,
  inclusionProof: true,
  consistencyProof: true,
  readiness: true,
  problem: true,
};
