import { z } from "@hono/zod-openapi";
import { idempotencyKeyHeader, mediaType } from "../contract/headers.ts";
import type { IssuedCertificate } from "../contract/certificates.ts";
import { parseIdempotencyKey } from "./idempotency-key.ts";
import { operation, type Operation } from "./operation.ts";
import { issuedCertificate, issueRequest } from "./schemas/issuing.ts";
import type { CaServices } from "./services.ts";

/** Issuing, apart from all that is done with certificates later: a function that starts for it loads no more. */
export function issuingOperations(services: CaServices): readonly Operation[] {
  return [
    operation({
      route: "POST /v1/certificates",
      tag: "certificates",
      summary: "Issue or renew a certificate",
      description:
        "First issuance and renewal are the same request with another attestation. `join-token` redeems a " +
        "bootstrap token, `svid` renews with a proof by the " +
        "current key, `operator` issues any ID within the scope of the API token in the Authorization header; `kubernetes`, `oidc`, `x509` and `aws-iam` " +
        "take what a workload's platform vouches for, as the CA's settings map it to an ID. The " +
        "certificate is durable and in the audit log " +
        "before the answer leaves. With an Idempotency-Key, a retry after a lost answer gets the same certificate.",
      headers: z.object({
        [idempotencyKeyHeader]: z
          .string()
          .optional()
          .openapi({ description: "1 to 255 printable ASCII characters, kept 24 h for each caller." }),
      }),
      body: {
        schema: issueRequest,
        example: {
          csr: "-----BEGIN CERTIFICATE REQUEST-----\n...",
          attestation: { type: "operator", spiffeId: `spiffe://${services.trustDomain}/ns/shop/sa/cart` },
        },
      },
      success: {
        status: 201,
        description: "Issued: chain, bundles and the entry's index.",
        content: { [mediaType.json]: issuedCertificate },
      },
      refusals: [
        "csr_refused",
        "attestation_refused",
        "attestation_required",
        "attestor_unavailable",
        "token_unknown",
        "token_expired",
        "token_already_redeemed",
        "proof_refused",
        "certificate_expired",
        "certificate_revoked",
        "unauthenticated",
        "forbidden",
        "spiffe_id_refused",
        "dns_name_refused",
        "ip_address_refused",
        "lifetime_refused",
        "key_reused",
        "idempotency_key_reused",
        "issuer_unavailable",
        "lint_failed",
      ],
      async handle({ request, caller, body }) {
        const idempotencyKey = parseIdempotencyKey(request.headers.get(idempotencyKeyHeader));
        return { status: 201, body: encodeIssued(await services.issue(body, { caller, idempotencyKey })) };
      },
    }),
  ];
}

/** As JSON. The bundles are the same for many certificates, and a third of the text: it is kept for as long as they are. */
function encodeIssued({ serialNumber, spiffeId, notBefore, notAfter, chain, logIndex, bundles, bundleSequence, feedEpoch }: IssuedCertificate): string {
  let text = bundleTexts.get(bundles);
  if (text === undefined) bundleTexts.set(bundles, text = JSON.stringify(bundles));
  const certificate = JSON.stringify({ serialNumber, spiffeId, notBefore, notAfter, chain, logIndex, bundleSequence, feedEpoch });
  return `${certificate.slice(0, -1)},"bundles":${text}}`;
}

const bundleTexts = new WeakMap<IssuedCertificate["bundles"], string>();
