import type { FederationSummary } from "./federation.ts";

/** `POST /v1/federation/invitations` */
export interface InviteFederationRequest {
  /** How long it may wait; default 3600. */
  readonly expiresInSeconds?: number | undefined;
}

export interface FederationInvitation {
  /** The one string that the other CA needs; a secret. */
  readonly invitation: string;
  readonly trustDomain: string;
  /** Of the root in it: to be compared with what the other side shows. */
  readonly rootFingerprint: string;
  readonly expiresAt: string;
}

/** `POST /v1/federation/acceptances`: federate both ways with the CA that made the invitation. */
export interface AcceptFederationRequest {
  readonly invitation: string;
}

/** Both directions stand. */
export interface FederationAcceptance {
  readonly federation: FederationSummary;
  readonly own: { readonly trustDomain: string; readonly rootFingerprints: readonly string[] };
  readonly peer: { readonly trustDomain: string; readonly rootFingerprints: readonly string[] };
}

/** `POST /v1/federation/joins`: from the CA that accepts an invitation to the one that made it. */
export interface JoinFederationRequest {
  readonly invitation: string;
  readonly secret: string;
  readonly trustDomain: string;
  readonly apiUrl: string;
  /** SPIFFE bundle, JWK Set. */
  readonly bundle: string;
}
