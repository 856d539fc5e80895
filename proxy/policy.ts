import { matchesSpiffeIdPattern, type SpiffeId, type SpiffeIdPattern } from "../ca/pki/spiffe-id.ts";

/**
 * Decides whether an authenticated peer may connect inbound.
 * @param allow undefined: everyone of the own trust domain. Empty: nobody (DESIGN 2, promise 9).
 */
export function authorizeInbound(allow: readonly SpiffeIdPattern[] | undefined, ownTrustDomain: string, peer: SpiffeId): boolean {
  if (allow === undefined) return peer.trustDomain === ownTrustDomain;
  return allow.some((pattern) => matchesSpiffeIdPattern(pattern, peer));
}

/** A request as a rule sees it: exactly what the app will be sent. */
export interface InboundRequest {
  readonly client: SpiffeId;
  readonly method: string;
  /** With its query, not normalized. */
  readonly path: string;
  /** Host and port the request names; undefined where HTTP/1.0 names none. */
  readonly authority: string | undefined;
}

/** Why a request is refused. */
export interface Denial {
  /** Name of the rule. */
  readonly rule: string;
}

/** Asked for each inbound request before anything of it is sent to the app. @returns undefined: it may pass */
export type AuthorizeRequest = (request: InboundRequest) => Denial | undefined;

/** Until there are rules about requests, who may connect may ask for everything. */
export const authorizeEveryRequest: AuthorizeRequest = () => undefined;
