/**
 * Every way the kernel refuses an input. A code is stable: tests, audit entries and problem documents name it.
 * Prefix = the artefact at fault, rest = what is wrong with it.
 */
export type PkiErrorCode =
  // encodings
  | "der_malformed"
  | "der_limit_exceeded"
  | "pem_malformed"
  | "pem_limit_exceeded"
  | "ip_address_malformed"
  // SPIFFE IDs
  | "spiffe_id_malformed"
  | "spiffe_id_pattern_malformed"
  | "trust_domain_malformed"
  // certificates as bytes
  | "certificate_malformed"
  | "certificate_version_unsupported"
  | "certificate_serial_invalid"
  | "certificate_extension_duplicate"
  | "certificate_extension_critical_unknown"
  | "certificate_extension_invalid"
  | "certificate_algorithm_mismatch"
  | "algorithm_unsupported"
  | "public_key_unsupported"
  | "public_key_weak"
  | "public_key_invalid"
  // certification requests
  | "csr_malformed"
  | "csr_signature_invalid"
  // path validation, RFC 5280 section 6.1
  | "path_not_found"
  | "path_too_long"
  | "path_budget_exceeded"
  | "path_signature_invalid"
  | "path_not_yet_valid"
  | "path_expired"
  | "path_issuer_not_ca"
  | "path_issuer_key_usage"
  | "path_length_exceeded"
  | "path_name_constraint_violated"
  | "path_name_constraint_unsupported"
  | "path_extended_key_usage"
  | "path_key_identifier_mismatch"
  // X509-SVIDs
  | "svid_chain_empty"
  | "svid_uri_san_count"
  | "svid_id_without_path"
  | "svid_id_with_path"
  | "svid_leaf_is_ca"
  | "svid_key_usage"
  | "svid_extended_key_usage"
  | "svid_trust_domain_unknown"
  | "svid_issuer_trust_domain"
  | "svid_id_unexpected"
  // JWT-SVIDs
  | "jwt_svid_malformed"
  | "jwt_svid_algorithm_refused"
  | "jwt_svid_audience_refused"
  | "jwt_svid_expired"
  | "jwt_svid_not_yet_valid"
  | "jwt_svid_key_unknown"
  | "jwt_svid_signature_invalid"
  // CRLs
  | "crl_malformed"
  | "crl_unsupported"
  | "crl_issuer_mismatch"
  | "crl_signer_key_usage"
  | "crl_signature_invalid"
  | "crl_not_yet_valid"
  | "crl_expired"
  | "crl_scope_mismatch"
  // OCSP
  | "ocsp_request_malformed"
  // SPIFFE bundles
  | "bundle_malformed"
  | "bundle_limit_exceeded"
  // documents of our own
  | "bootstrap_malformed"
  | "renewal_proof_malformed"
  | "aws_iam_claim_malformed"
  | "renewal_proof_signature_invalid";

/** A refused input: `code` for programs, `message` for people. The message never repeats the input's bytes. */
export class PkiError extends Error {
  override readonly name = "PkiError";
  readonly code: PkiErrorCode;

  constructor(code: PkiErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
