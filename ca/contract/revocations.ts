import type { RenewNotice } from "./watch.ts";

export interface RevokeRequest {
  readonly reason: RevocationReason;
}

/** RFC 5280 5.3.1, less the ones that make no sense for a short-lived end entity (7 is unused, 6 and 8 are for holds). */
export const revocationReasons = [
  "unspecified",
  "keyCompromise",
  "cACompromise",
  "affiliationChanged",
  "superseded",
  "cessationOfOperation",
  "privilegeWithdrawn",
  "aACompromise",
] as const;
export type RevocationReason = (typeof revocationReasons)[number];

export interface Revocation {
  /** Rises strictly; ask again with `?after=` the highest one you hold. */
  readonly sequence: number;
  readonly serialNumber: string;
  readonly reason: RevocationReason;
  readonly revokedAt: string;
  /** When the certificate would have expired; from then on the entry may be forgotten. */
  readonly notAfter: string;
  /** In `RevocationPage`: of a CA, so that all it signed is refused, in other clusters too. */
  readonly authority?: true | undefined;
}

/** What the watch event `revocation` carries: as many as fit, ascending. */
export interface RevocationBatch {
  readonly revocations: readonly Revocation[];
  /** The `after` of the next request; below the one asked for when the CA was restored from a backup: then begin again at 0. */
  readonly sequence: number;
  /** True when more entries wait behind `sequence`: ask again at once. */
  readonly more: boolean;
}

/** `GET /v1/revocations`: for whoever cannot follow `GET /v1/watch`, which says the rest by events of their own. */
export interface RevocationPage extends RevocationBatch {
  readonly feedEpoch: string;
  readonly renew: readonly RenewNotice[];
}
