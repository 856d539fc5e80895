import { matchesSpiffeIdPattern, type SpiffeId, type SpiffeIdPattern } from "../ca/pki/spiffe-id.ts";

/**
 * Decides whether an authenticated peer may connect inbound.
 * @param allow undefined: everyone of the own trust domain. Empty: nobody (DESIGN 2, promise 9).
 */
export function authorizeInbound(allow: readonly SpiffeIdPattern[] | undefined, ownTrustDomain: string, peer: SpiffeId): boolean {
  if (allow === undefined) return peer.trustDomain === ownTrustDomain;
  return allow.some((pattern) => matchesSpiffeIdPattern(pattern, peer));
}
