/** How a bundle endpoint proves itself: by a certificate of the Web PKI for its host name, or by its X509-SVID. */
export const federationProfiles = ["https_web", "https_spiffe"] as const;
export type FederationProfile = (typeof federationProfiles)[number];

/** `POST /v1/federation`: trust the workloads of another trust domain, by the bundle that its endpoint publishes. */
export interface AddFederationRequest {
  readonly trustDomain: string;
  readonly profile: FederationProfile;
  /** `https`, without user and fragment. */
  readonly endpointUrl: string;
  /** `https_spiffe`: the SPIFFE ID of the endpoint; of this trust domain, or of another one that is federated with. */
  readonly endpointSpiffeId?: string | undefined;
  /** Its bundle, a SPIFFE JWK Set or PEM; `https_spiffe` needs it where the endpoint's ID is of this trust domain. */
  readonly bundle?: string | undefined;
}

export interface FederationSummary {
  readonly trustDomain: string;
  readonly profile: FederationProfile;
  readonly endpointUrl: string;
  readonly endpointSpiffeId?: string;
  /** URL of its API, for a Countersign CA that was invited or invited us: it acknowledges our bundle, and we acknowledge its. */
  readonly apiUrl?: string;
  /** By which hub it came: what is there is signed by its CA's key. */
  readonly hub?: string;
  readonly addedAt: string;
  readonly addedBy: string;
  /** The last good one; absent: there was none yet, and nobody of this trust domain is believed. */
  readonly bundle?: ForeignBundleSummary;
  /** Absent: nobody has looked for it yet. */
  readonly refresh?: FederationRefresh;
  /** Which bundle of ours its CA has. */
  readonly acknowledged?: FederationAcknowledged;
  /** C2SP verifier keys of its CA's audit log, and of its CA as a witness of ours. */
  readonly logKey?: string;
  readonly witnessKey?: string;
  /** How far its CA has cosigned our audit log. */
  readonly cosigned?: FederationCosigned;
}

export interface FederationAcknowledged {
  readonly bundleSequence: string;
  /** When it said so. */
  readonly at: string;
  /** It came by a hub and has said nothing there for three days, so no root waits for it. */
  readonly vanished?: true;
}

export interface FederationCosigned {
  /** Entries. */
  readonly size: number;
  readonly at?: string;
  /** Why it did not, the last time. */
  readonly error?: string;
  /** It says that our log is not the one it cosigned before. */
  readonly contradicts?: boolean;
}

export interface ForeignBundleSummary {
  /** Decimal, 64 bits. */
  readonly sequence?: string;
  readonly authorities: readonly { readonly fingerprint: string; readonly notAfter: string }[];
  readonly jwtKeys: number;
  readonly refreshHintSeconds?: number;
  readonly changedAt: string;
}

/** How the last look for a bundle went. */
export interface FederationRefresh {
  readonly attemptedAt: string;
  readonly succeededAt?: string;
  /** In a row. */
  readonly failures: number;
  /** Why the last one failed. */
  readonly error?: string;
  /** Changes of it are told by its CA's stream, too, so it is looked for less often. */
  readonly followed?: boolean;
  /** How long after an attempt the next one comes. */
  readonly intervalSeconds: number;
}

/** `GET /v1/federation`, by trust domain. */
export interface FederationList {
  readonly federation: readonly FederationSummary[];
}
