/** `POST /v1/jwt-svids`: a token that says who its bearer is. */
export interface IssueJwtSvidRequest {
  /** Who is to believe it. */
  readonly audience: readonly string[];
  /** Default: the caller's own, which a workload may leave out and nobody else has. */
  readonly spiffeId?: string | undefined;
  /** Default and ceiling are settings of the CA. */
  readonly lifetimeSeconds?: number | undefined;
}

export interface IssuedJwtSvid {
  /** JWS in compact form: a secret until it expires. */
  readonly token: string;
  readonly spiffeId: string;
  readonly audience: readonly string[];
  readonly issuedAt: string;
  readonly expiresAt: string;
  /** `kid`. */
  readonly keyId: string;
  /** Index of this issuance in the audit log. */
  readonly logIndex: number;
}
