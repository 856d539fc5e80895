import { z } from "@hono/zod-openapi";
import { idempotencyKeyHeader, mediaType } from "../contract/headers.ts";
import type { IssuerSummary } from "../contract/issuers.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { describeName } from "../pki/name-text.ts";
import { Refusal } from "../refusal.ts";
import type { CertificateRow } from "../store/rows/certificates.ts";
import { json } from "./answer.ts";
import { summarizeCertificate } from "./certificates.ts";
import { encodeCursor } from "./cursor.ts";
import { parseIdempotencyKey } from "./idempotency-key.ts";
import { operation, type Operation } from "./operation.ts";
import { cursor, defaultLimit, limit, parsePosition } from "./parameters.ts";
import { issuedIssuer, issueIssuerRequest, issuerPage } from "./schemas/issuers.ts";
import type { CaServices } from "./services.ts";

/** Issuers for other CAs: sign and list; they are looked up and revoked as the certificates they are. */
export function issuerOperations(services: CaServices): readonly Operation[] {
  const { store, now } = services;
  return [
    operation({
      route: "POST /v1/issuers",
      tag: "trust",
      summary: "Sign an issuer for another CA",
      description:
        "For the Countersign of another cluster, Linkerd's identity service, Istio or cert-manager: a CA certificate with path length 0, " +
        "held to the other trust domain. The CSR proves that the key is there; only the key is taken from it. An operator needs the scope " +
        "`issuer:<trust domain>`, and `dns:` for what else the issuer may name. Revoke it with `POST /v1/certificates/{serial}/revoke`. With an Idempotency-Key, a retry after a lost " +
        "answer gets the same certificate.",
      headers: z.object({
        [idempotencyKeyHeader]: z.string().optional().openapi({ description: "1 to 255 printable ASCII characters, kept 24 h for each caller." }),
      }),
      body: {
        schema: issueIssuerRequest,
        example: { csr: "-----BEGIN CERTIFICATE REQUEST-----\n...", profile: "linkerd", trustDomain: "cluster.local" },
      },
      success: { status: 201, description: "Signed: the chain, and the roots it ends in.", content: { [mediaType.json]: issuedIssuer } },
      refusals: [
        "csr_refused", "spiffe_id_refused", "dns_name_refused", "issuer_refused", "lifetime_refused", "key_reused", "idempotency_key_reused", "certificate_revoked",
        "issuer_unavailable", "lint_failed",
      ],
      async handle({ request, caller, body }) {
        if (caller === undefined) throw new Refusal("unauthenticated", "To have an issuer signed needs an API token.");
        return json(await services.issueIssuer(body, caller, parseIdempotencyKey(request.headers.get(idempotencyKeyHeader))), 201);
      },
    }),
    operation({
      route: "GET /v1/issuers",
      tag: "trust",
      summary: "List issuers of other CAs",
      description: "Newest first: those this CA signed for others, not its own. `nextCursor` leads to the next page.",
      query: z.strictObject({ limit, cursor }),
      success: { status: 200, description: "A page.", content: { [mediaType.json]: issuerPage } },
      async handle({ query }) {
        const { limit: pageSize = defaultLimit } = query;
        const nowMs = now().getTime();
        const before = query.cursor === undefined ? undefined : parsePosition(query.cursor);
        const rows = await store.certificates({ nowMs, limit: pageSize + 1, issuersOnly: true, ...(before !== undefined && { before }) });
        const page = rows.slice(0, pageSize);
        const last = page.at(-1);
        return json({
          issuers: page.map((row) => summarizeIssuer(row, nowMs)),
          ...(rows.length > pageSize && last !== undefined && { nextCursor: encodeCursor(last.logIndex) }),
        });
      },
    }),
  ];
}

function summarizeIssuer(row: CertificateRow, nowMs: number): IssuerSummary {
  const { spiffeId, dnsNames: _dnsNames, attestation: _attestation, ...facts } = summarizeCertificate(row, nowMs);
  const { subject, keyAlgorithm } = parseCertificate(row.certificate);
  return { ...facts, trustDomain: spiffeId.slice("spiffe://".length), subject: describeName(subject), keyAlgorithm };
}
