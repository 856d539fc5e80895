import { paths } from "../contract/paths.ts";
import { parseBundle, type Bundle } from "../pki/bundle.ts";
import { PkiError } from "../pki/errors.ts";
import { askEndpoint, type EndpointProof } from "./endpoint.ts";
import { FederationError } from "./errors.ts";

/** A CA of which no more is known than a string said. */
export interface PinnedCa {
  /** `https://host:port` of its API. */
  readonly apiUrl: string;
  readonly trustDomain: string;
  /** SHA-256 of one of its roots, hex. */
  readonly rootFingerprint: string;
  /** A load balancer or AWS Lambda ends its TLS: it is known by a certificate of the web. @param roots  PEM; undefined: those that Node brings along */
  readonly web?: { readonly roots: readonly string[] | undefined };
}

/**
 * The bundle of the CA that has the root; of what strangers answer one hash decides, and nothing secret was sent.
 * @throws {FederationError} endpoint_unreachable | endpoint_untrusted | endpoint_answer | bundle_refused
 */
export async function fetchPinned(
  { apiUrl, trustDomain, rootFingerprint, web }: PinnedCa, nowMs: number,
): Promise<{ readonly text: string; readonly bundle: Bundle; readonly feedEpoch: string | undefined }> {
  const url = new URL(paths.bundle, apiUrl);
  const byWeb: EndpointProof | undefined = web && { profile: "https_web", ...web };
  const stranger = await askEndpoint({ method: "GET", url, proof: byWeb ?? { profile: "stranger" } });
  const root = readBundle(trustDomain, stranger.text).x509Authorities.find(({ fingerprint }) => fingerprint === rootFingerprint);
  if (root === undefined) {
    throw new FederationError("endpoint_untrusted", `what answers at ${url.host} does not have the root ${rootFingerprint.slice(0, 16)}... of the invitation: another CA, or somebody in between; the secret was not sent`);
  }
  if (byWeb !== undefined) return { text: stranger.text, bundle: readBundle(trustDomain, stranger.text), feedEpoch: stranger.feedEpoch };
  const pinned = new Map([[trustDomain, { trustDomain, x509Authorities: [root], jwtAuthorities: [] }]]);
  const { status, text, feedEpoch } = await askEndpoint({ method: "GET", url, proof: { profile: "https_spiffe", spiffeId: endpointId(trustDomain), bundles: pinned, nowMs } });
  if (status !== 200) throw new FederationError("endpoint_answer", `the endpoint answered with status ${status}, and no bundle`, { status });
  return { text, bundle: readBundle(trustDomain, text), feedEpoch };
}

/** The SPIFFE ID of a Countersign CA. */
export function endpointId(trustDomain: string): string {
  return `spiffe://${trustDomain}/countersign/ca`;
}

function readBundle(trustDomain: string, text: string): Bundle {
  try {
    return parseBundle(trustDomain, text);
  } catch (cause) {
    if (cause instanceof PkiError) throw new FederationError("bundle_refused", `its bundle is refused: ${cause.message}`, { cause });
    throw cause;
  }
}
