/** Stable code of every refusal, with its HTTP status. `ca/http/problem.ts` is the one place that turns one into the other. */
export const problemStatus = {
  invalid_request: 400,
  body_too_large: 413,
  headers_too_large: 431,
  media_type_unsupported: 415,
  csr_refused: 400,
  attestation_refused: 403,
  attestation_required: 403,
  attestor_unavailable: 503,
  token_unknown: 403,
  token_expired: 403,
  token_already_redeemed: 403,
  proof_refused: 403,
  certificate_expired: 403,
  certificate_revoked: 403,
  unauthenticated: 401,
  forbidden: 403,
  rate_limited: 429,
  operator_exists: 409,
  policy_refused: 400,
  changed_meanwhile: 409,
  spiffe_id_refused: 400,
  dns_name_refused: 400,
  ip_address_refused: 400,
  lifetime_refused: 400,
  issuer_refused: 409,
  key_reused: 409,
  idempotency_key_reused: 422,
  not_found: 404,
  method_not_allowed: 405,
  already_revoked: 409,
  certificate_not_revocable: 409,
  bundle_unknown: 409,
  federation_refused: 400,
  federation_exists: 409,
  federation_failed: 502,
  invitation_refused: 403,
  lint_failed: 500,
  authority_held_back: 409,
  authority_state: 409,
  issuer_unavailable: 503,
  clock_uncertain: 503,
  sealing_key_unavailable: 503,
  watchers_full: 503,
  store_busy: 503,
  store_unavailable: 503,
  request_timeout: 408,
  internal: 500,
} as const;
export type ProblemCode = keyof typeof problemStatus;

/** RFC 9457 problem document. */
export interface Problem {
  /** `urn:countersign:problem:` and the code. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** What happened, to what, why, and what to do next. */
  readonly detail: string;
  readonly code: ProblemCode;
}
