import { createHash } from "node:crypto";
import { z } from "@hono/zod-openapi";
import type { CertificateStatus, CertificateSummary } from "../contract/certificates.ts";
import { mediaType } from "../contract/headers.ts";
import { encodePem } from "../pki/pem.ts";
import { parseSpiffeIdPattern } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";
import type { CertificateRow } from "../store/rows/certificates.ts";
import { json, wantsPem } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import { cursor, defaultLimit, limit, encodePosition, parsePosition, serialParameter } from "./parameters.ts";
import { certificateDetail, certificatePage } from "./schemas/certificates.ts";
import { revocation, revokeRequest } from "./schemas/revocations.ts";
import { checkView, viewOf } from "./scope.ts";
import type { CaServices } from "./services.ts";

/** Look up, revoke. */
export function certificateOperations(services: CaServices): readonly Operation[] {
  const { store, now } = services;
  return [
    operation({
      route: "GET /v1/certificates",
      tag: "certificates",
      summary: "List certificates",
      description: "Newest first, with `status=revoked` those revoked last; for an operator those in its scope. Filters narrow the list; " +
        "`nextCursor` leads to the next page.",
      query: z.strictObject({
        spiffeId: z
          .string()
          .min(1)
          .max(2048)
          .optional()
          .openapi({
            description: "An ID, or a prefix ending in `/*`.",
            example: `spiffe://${services.trustDomain}/ns/shop/*`,
          }),
        status: z.enum(["valid", "expired", "revoked"]).optional().openapi({ description: "As of now." }),
        expiresBefore: z.iso
          .datetime({ offset: true, error: "expected an instant such as 2026-11-21T05:00:00Z" })
          .optional()
          .openapi({ description: "Those whose notAfter is earlier (RFC 3339)." }),
        limit,
        cursor,
      }),
      success: { status: 200, description: "A page.", content: { [mediaType.json]: certificatePage } },
      refusals: ["spiffe_id_refused"],
      async handle({ caller, query }) {
        const within = viewOf(caller);
        const { spiffeId, status, expiresBefore, limit: pageSize = defaultLimit } = query;
        // What is no pattern would fit nothing, and an empty list be read as: nobody has it.
        if (spiffeId !== undefined) parseSpiffeIdPattern(spiffeId);
        const nowMs = now().getTime();
        const kind = status === "revoked" ? "revocation" : "entry";
        const before = query.cursor === undefined ? undefined : parsePosition(query.cursor, kind);
        const rows = await store.certificates({
          nowMs,
          limit: pageSize + 1,
          ...(before !== undefined && { before }),
          ...(spiffeId !== undefined && { spiffeId }),
          ...(within !== undefined && { within }),
          ...(status !== undefined && { status }),
          ...(expiresBefore !== undefined && { expiresBeforeMs: Date.parse(expiresBefore) }),
        });
        const page = rows.slice(0, pageSize);
        const last = page.at(-1);
        return json({
          certificates: page.map((row) => summarizeCertificate(row, nowMs)),
          ...(rows.length > pageSize && last !== undefined && {
            nextCursor: encodePosition(kind === "revocation" ? last.revocationSequence ?? 0 : last.logIndex, kind),
          }),
        });
      },
    }),
    operation({
      route: "GET /v1/certificates/{serial}",
      tag: "certificates",
      summary: "Look up a certificate",
      description: "As JSON, or with `Accept: application/x-pem-file` the chain alone.",
      params: serialParameter,
      success: {
        status: 200,
        description: "The certificate and its state.",
        content: { [mediaType.json]: certificateDetail, [mediaType.pem]: undefined },
      },
      refusals: ["not_found"],
      async handle({ request, caller, params }) {
        const row = await store.certificate(params.serial.toLowerCase());
        if (row === undefined) throw notFound(params.serial);
        checkView(caller, row.spiffeId, `The certificate ${row.serialNumber}`);
        const chain = encodePem("CERTIFICATE", row.certificate) + services.chainBehind(row.authorityId);
        if (wantsPem(request)) return { status: 200, body: chain, contentType: mediaType.pem, headers: varyAccept };
        return json({ ...summarizeCertificate(row, now().getTime()), chain }, 200, varyAccept);
      },
    }),
    operation({
      route: "POST /v1/certificates/{serial}/revoke",
      tag: "certificates",
      summary: "Revoke a certificate",
      description:
        "From the answer on it is in the revocation feed, which proxies follow; connections made with it are cut. " +
        "It cannot be undone. " +
        "For keyCompromise the certificates renewed from it are revoked with it, as entries of the feed behind its own: whoever " +
        "had the key may have renewed.",
      params: serialParameter,
      body: { schema: revokeRequest, example: { reason: "keyCompromise" } },
      success: { status: 200, description: "Revoked, durably.", content: { [mediaType.json]: revocation } },
      refusals: ["not_found", "already_revoked", "certificate_not_revocable"],
      async handle({ caller, params, body }) {
        // The route's rule has no public case, so there is a caller; if it ever had, nobody must not revoke.
        if (caller === undefined) throw new Refusal("unauthenticated", "Revoking needs an API token.");
        return json(await services.revoke(params.serial.toLowerCase(), body.reason, caller));
      },
    }),
  ];
}

/** What lists and look-ups show of a certificate, with its status at `nowMs`. */
export function summarizeCertificate(row: CertificateRow, nowMs: number): CertificateSummary {
  const {
    serialNumber,
    spiffeId,
    dnsNames,
    notBeforeMs,
    notAfterMs,
    authorityId,
    attestation,
    certificate,
    revokedAtMs,
    revocationReason,
    logIndex,
  } = row;
  const status: CertificateStatus = revokedAtMs !== undefined ? "revoked" : nowMs > notAfterMs ? "expired" : "valid";
  return {
    serialNumber,
    spiffeId,
    dnsNames,
    notBefore: new Date(notBeforeMs).toISOString(),
    notAfter: new Date(notAfterMs).toISOString(),
    authorityId,
    attestation,
    fingerprint: createHash("sha256").update(certificate).digest("hex"),
    status,
    ...(revokedAtMs !== undefined && { revokedAt: new Date(revokedAtMs).toISOString() }),
    ...(revocationReason !== undefined && { revocationReason }),
    logIndex,
  };
}

function notFound(serial: string): Refusal {
  return new Refusal(
    "not_found",
    `No certificate of this CA has the serial number ${serial.toLowerCase()}; "countersign certificate list" (GET /v1/certificates) shows them.`,
  );
}

const varyAccept = { vary: "accept" };
