/** `POST /v1/sign-ins`: the way into the dashboard for the caller, once and soon. */
export interface SignInLink {
  /** Of the page, below the CA's URL; a secret. */
  readonly path: string;
  readonly expiresAt: string;
}
