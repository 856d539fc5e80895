import { PkiError } from "../pki/errors.ts";
import { validatePath } from "../pki/path.ts";
import type { Signing } from "./signing.ts";

/**
 * Why no proxy would take a certificate by this issuer.
 * @source linkerd2, pkg/identity/service.go (ensureIssuerStillValid); RUSTSEC-2026-0098
 */
export function issuerFault({ chain: [issuer, ...above], anchors }: Signing, nowMs: number): string | undefined {
  if (issuer === undefined) return "it has no certificate";
  // rustls-webpki refuses all URI constraints above a leaf with a URI, and the proxy with it.
  if ([issuer, ...above].some(({ nameConstraints }) => [nameConstraints?.permitted, nameConstraints?.excluded].some((side) => (side?.uris.length ?? 0) > 0))) return constrained;
  try {
    validatePath({ leaf: issuer, intermediates: above, anchors, nowMs });
    return undefined;
  } catch (error) {
    if (error instanceof PkiError) return error.message;
    throw error;
  }
}

const constrained = "it has URI name constraints, which Linkerd's proxies do not accept; have it signed without them, as by countersign issuer invite --unconstrained on the CA above";
