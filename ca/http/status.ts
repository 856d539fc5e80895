import { z } from "@hono/zod-openapi";
import { mediaType } from "../contract/headers.ts";
import { Refusal } from "../refusal.ts";
import { isHeld, type Answer } from "./answer.ts";
import { readBytes } from "./body.ts";
import { operation, type Operation } from "./operation.ts";
import type { CaServices } from "./services.ts";

/**
 * What other software asks to learn whether a certificate is revoked: CRLs, OCSP, and the certificates of issuers. All of it is
 * signed by itself, so that it may be served over plain HTTP, cached, and passed on by anybody.
 */
export function statusOperations(services: CaServices): readonly Operation[] {
  return [
    operation({
      route: "GET /crl/{authority}/{list}",
      tag: "status",
      summary: "Fetch a CRL",
      description:
        "`full.crl` lists all revoked certificates of an issuer, `8-3.crl` those whose serial number modulo 8 is 3, as the certificates " +
        "say themselves; `authorities.crl` of a root lists revoked issuers. It is signed anew when something was revoked.",
      params: z.object({ authority: z.string().max(maxIdChars), list: z.string().max(maxListChars) }),
      success: { status: 200, description: "The CRL, DER.", content: { [mediaType.crl]: undefined } },
      refusals: ["not_found", "issuer_unavailable", "lint_failed", "store_unavailable"],
      async handle({ request, params: { authority, list } }) {
        const crl = await services.crl(authority, list);
        if (crl === undefined) throw new Refusal("not_found", "There is no such CRL: the authority is unknown or has ended, or it has no list of that name.");
        return cached(request, { ...crl, etag: crl.fingerprint, body: crl.der, contentType: mediaType.crl, nowMs: services.now().getTime() });
      },
    }),
    operation({
      route: "GET /authority/{certificate}",
      tag: "status",
      summary: "Fetch the certificate of an authority",
      description: "By its ID and `.cer`, DER: where certificates say that their issuer's is.",
      params: z.object({ certificate: z.string().max(maxListChars) }),
      success: { status: 200, description: "The certificate, DER.", content: { [mediaType.certificate]: undefined } },
      refusals: ["not_found"],
      handle({ request, params: { certificate } }) {
        const der = certificate.endsWith(".cer") ? services.authorityCertificate(certificate.slice(0, -4)) : undefined;
        if (der === undefined) throw new Refusal("not_found", "This CA has no authority with this ID.");
        const headers = { etag: `"${certificate}"`, "cache-control": `public, max-age=${maxAgeSeconds}` };
        return isHeld(request, headers.etag) ? { status: 304, body: null, headers } : { status: 200, body: der, contentType: mediaType.certificate, headers };
      },
    }),
    operation({
      route: "POST /ocsp",
      tag: "status",
      summary: "Ask for the status of certificates (OCSP)",
      description: "An OCSPRequest, DER (RFC 6960). Errors are OCSP errors, with HTTP status 200.",
      success: { status: 200, description: "An OCSPResponse, DER.", content: { [mediaType.ocspResponse]: undefined } },
      refusals: ["media_type_unsupported"],
      async handle({ request, address }) {
        if (request.headers.get("content-type")?.toLowerCase() !== mediaType.ocspRequest) {
          throw new Refusal("media_type_unsupported", `The body must be an OCSP request and say so: add the header "content-type: ${mediaType.ocspRequest}".`);
        }
        const { der } = await services.ocsp(await readBytes(request, maxOcspBytes), address);
        return { status: 200, body: der, contentType: mediaType.ocspResponse };
      },
    }),
    operation({
      route: "GET /ocsp/{request}",
      tag: "status",
      summary: "Ask for the status of a certificate (OCSP), cacheable",
      description: "The OCSPRequest in base64, URL-encoded (RFC 6960 appendix A).",
      params: z.object({ request: z.string() }),
      success: { status: 200, description: "An OCSPResponse, DER.", content: { [mediaType.ocspResponse]: undefined } },
      async handle({ request, address }) {
        const { der, thisUpdateMs, nextUpdateMs } = await services.ocsp(ocspRequestOf(new URL(request.url).pathname), address);
        if (thisUpdateMs === undefined || nextUpdateMs === undefined) return { status: 200, body: der, contentType: mediaType.ocspResponse };
        const etag = Buffer.from(await crypto.subtle.digest("SHA-256", Uint8Array.from(der))).toString("hex");
        return cached(request, { thisUpdateMs, nextUpdateMs, etag, body: der, contentType: mediaType.ocspResponse, nowMs: services.now().getTime() });
      },
    }),
  ];
}

/** Kept by caches for some minutes and never past its end: what was revoked meanwhile is known to those who ask then. */
function cached(request: Request, { thisUpdateMs, nextUpdateMs, etag, body, contentType, nowMs }: {
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  readonly etag: string;
  readonly body: Uint8Array;
  readonly contentType: string;
  readonly nowMs: number;
}): Answer {
  const leftSeconds = Math.max(0, Math.floor((nextUpdateMs - nowMs) / 1000) - 1);
  const headers = {
    etag: `"${etag}"`,
    "last-modified": new Date(thisUpdateMs).toUTCString(),
    expires: new Date(nextUpdateMs).toUTCString(),
    "cache-control": `public, max-age=${Math.min(maxAgeSeconds, leftSeconds)}, no-transform, must-revalidate`,
  };
  return isHeld(request, headers.etag) ? { status: 304, body: null, headers } : { status: 200, body, contentType, headers };
}

/** Behind the path: base64 that is URL-encoded, or was not and has slashes. @returns no bytes for what is none, which OCSP calls malformed */
function ocspRequestOf(path: string): Uint8Array {
  const encoded = path.slice(path.indexOf(ocspPrefix) + ocspPrefix.length);
  if (encoded.length > maxOcspBytes * 4) return new Uint8Array();
  try {
    return Buffer.from(decodeURIComponent(encoded), "base64");
  } catch {
    return new Uint8Array();
  }
}

const ocspPrefix = "/ocsp/";
/** More than `parseOcspRequest` reads, so that it is the one that says so. */
const maxOcspBytes = 8 * 1024;
const maxIdChars = 128;
const maxListChars = 140;
/** How long a cache may serve what was fetched before a revocation. */
const maxAgeSeconds = 300;
