/** `root_*`: why a root cannot be used; the others: what the CA cannot do with what it has. */
export type AuthorityErrorCode =
  | "root_certificate_unreadable"
  | "root_certificate_refused"
  | "root_not_self_signed"
  | "root_not_ca"
  | "root_key_usage"
  | "root_path_length"
  | "root_key_identifier"
  | "root_not_yet_valid"
  | "root_expired"
  | "root_expires_too_soon"
  | "root_names_refused"
  | "root_key_unreadable"
  | "root_key_passphrase"
  | "root_key_mismatch"
  | "root_changed"
  | "trust_domain_changed"
  | "authority_missing"
  | UpstreamErrorCode
  /** This machine's clock is not the one that the store was written by. */
  | "clock_uncertain";

/**
 * What keeps the CA above from doing its part. `_unreachable`: nobody answers in time. `_untrusted`: who answers did not prove to be it.
 * `_refused`: it declined. `_answer`: its answer is none that is taken. `_identity`: nothing is left to prove to it who asks. `_root_unknown`: it signs by a root that
 * holders here do not trust yet. `_waiting`: it failed just now, and is asked again in a while. `_changed`: it is another one than this store's.
 */
export type UpstreamErrorCode =
  | "upstream_unreachable" | "upstream_untrusted" | "upstream_refused" | "upstream_answer" | "upstream_identity" | "upstream_root_unknown" | "upstream_waiting" | "upstream_changed";

/** An authority that cannot be made, taken or used. The message never holds key material. */
export class AuthorityError extends Error {
  override readonly name = "AuthorityError";
  readonly code: AuthorityErrorCode;

  constructor(code: AuthorityErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
