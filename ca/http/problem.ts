import { AuditError } from "../audit/errors.ts";
import { mediaType } from "../contract/headers.ts";
import { problemStatus, type Problem, type ProblemCode } from "../contract/problem.ts";
import { PkiError } from "../pki/errors.ts";
import { Refusal } from "../refusal.ts";
import { StoreError, type StoreErrorCode } from "../store/errors.ts";
import type { Answer } from "./answer.ts";

/**
 * The answer to a refused request (RFC 9457). What is not one of our coded errors becomes a bare 500 that names the
 * request and nothing else; the caller logs it.
 * @param requestId  named by the detail of a 500, so that whoever reports it can be helped
 */
export function answerProblem(error: unknown, requestId: string): ProblemAnswer {
  const refusal = refusalFrom(error);
  if (refusal === undefined) return problemAnswer("internal", internalDetail(requestId));
  const headers: Record<string, string> = {};
  if (refusal.code === "unauthenticated") headers["www-authenticate"] = 'Bearer realm="countersign"';
  const retryAfterSeconds =
    refusal.retryAfterSeconds ?? (problemStatus[refusal.code] === 503 ? defaultRetrySeconds : undefined);
  if (retryAfterSeconds !== undefined) headers["retry-after"] = String(Math.ceil(retryAfterSeconds));
  return problemAnswer(
    refusal.code,
    problemStatus[refusal.code] === 500 ? internalDetail(requestId) : refusal.message,
    headers,
  );
}

/** Whether an error is our own fault and belongs in the log with its stack. */
export function isInternal(error: unknown): boolean {
  const refusal = refusalFrom(error);
  return refusal === undefined || problemStatus[refusal.code] === 500;
}

export type ProblemAnswer = Answer & { readonly code: ProblemCode; readonly body: string };

/** A problem document as an answer. */
export function problemAnswer(
  code: ProblemCode,
  detail: string,
  headers: Readonly<Record<string, string>> = {},
): ProblemAnswer {
  const status = problemStatus[code];
  const problem: Problem = { type: `urn:countersign:problem:${code}`, title: problemTitle[code], status, detail, code };
  return { code, status, contentType: mediaType.problem, body: JSON.stringify(problem), headers };
}

/** The refusal an error amounts to, or undefined for an error nobody foresaw. */
function refusalFrom(error: unknown): Refusal | undefined {
  if (error instanceof Refusal) return error;
  if (error instanceof StoreError) {
    const [code, detail] = storeRefusal[error.code];
    return new Refusal(code, detail, { cause: error });
  }
  if (error instanceof PkiError) {
    const code = pkiRefusal.find(([prefix]) => error.code.startsWith(prefix))?.[1];
    return code && new Refusal(code, error.message, { cause: error });
  }
  if (error instanceof AuditError && error.code === "proof_out_of_range") {
    return new Refusal("invalid_request", error.message, { cause: error });
  }
  return undefined;
}

function internalDetail(requestId: string): string {
  return `Something failed inside the CA; its log names the cause under request ${requestId}.`;
}

/** One sentence a code, the same for each occurrence (RFC 9457 3.1.3). */
export const problemTitle: Readonly<Record<ProblemCode, string>> = {
  invalid_request: "The request does not fit the API's description",
  body_too_large: "The request body is too large",
  headers_too_large: "The request's headers are too large",
  media_type_unsupported: "The request body is not JSON",
  csr_refused: "The certification request is refused",
  attestation_refused: "The attestation does not prove an identity",
  attestation_required: "The workload has to attest anew",
  attestor_unavailable: "Whoever vouches for the workload cannot be asked now",
  token_unknown: "The token is unknown",
  token_expired: "The token has expired",
  token_already_redeemed: "The token has been redeemed",
  proof_refused: "The renewal proof is refused",
  certificate_expired: "The certificate has expired",
  certificate_revoked: "The certificate is revoked",
  unauthenticated: "An API token is needed",
  forbidden: "The caller may not do this",
  rate_limited: "Too many requests in too short a time",
  operator_exists: "This SPIFFE ID has a role already",
  policy_refused: "The policy or service is refused",
  changed_meanwhile: "Somebody changed it meanwhile",
  spiffe_id_refused: "The SPIFFE ID is refused",
  dns_name_refused: "The DNS name is refused",
  ip_address_refused: "The IP address is refused",
  issuer_refused: "No such issuer can be signed here",
  lifetime_refused: "The lifetime is refused",
  key_reused: "The key has been certified before",
  idempotency_key_reused: "The Idempotency-Key was used for another request",
  not_found: "There is no such thing here",
  method_not_allowed: "The method is not allowed here",
  already_revoked: "The certificate is revoked already",
  certificate_not_revocable: "The certificate cannot be revoked",
  bundle_unknown: "The bundle is not one of this CA",
  federation_refused: "The federation is refused",
  federation_exists: "The trust domain is federated with already",
  federation_failed: "The other trust domain's CA did not do its part",
  invitation_refused: "The invitation is refused",
  lint_failed: "The certificate would break a rule",
  authority_held_back: "The authority is still relied on, or not yet",
  authority_state: "The authority's state does not allow this",
  issuer_unavailable: "No issuer can sign now",
  clock_uncertain: "The CA is not sure of the time",
  sealing_key_unavailable: "The CA cannot open its keys yet",
  watchers_full: "The feed takes no more readers",
  store_busy: "The CA is busy",
  store_unavailable: "The CA's database cannot be reached or written",
  request_timeout: "The request did not arrive in time",
  internal: "Something failed inside the CA",
};

/**
 * Store errors that a use-case did not turn into a refusal of its own; the store's message may name hosts and files, so
 * it stays here.
 */
const storeRefusal: Readonly<Record<StoreErrorCode, readonly [ProblemCode, string]>> = {
  already_initialized: ["internal", ""],
  serial_taken: ["internal", ""],
  key_reused: ["key_reused", "A certificate for this public key exists already: make a new key for each certificate."],
  token_unknown: ["token_unknown", "The token does not exist or was deleted: ask for a new one."],
  token_already_redeemed: ["token_already_redeemed", "The token was redeemed by another request: ask for a new one."],
  idempotency_conflict: ["idempotency_key_reused", "This Idempotency-Key is taken: use a new key for a new request."],
  certificate_unknown: ["not_found", "No certificate has this serial number."],
  certificate_revoked: ["certificate_revoked", "The certificate was revoked meanwhile: ask for a new join token."],
  already_revoked: ["already_revoked", "The certificate was revoked before; nothing changed."],
  authority_in_use: ["authority_held_back", "Certificates below this authority are still valid."],
  authority_superseded: ["issuer_unavailable", "The issuer was replaced while the request was under way: try again."],
  lease_lost: ["store_busy", "Another replica has taken over this work: try again."],
  crl_superseded: ["store_unavailable", "Another replica signed this CRL at the same time: try again."],
  sealing_superseded: ["issuer_unavailable", "This replica was started before the CA's keys were sealed anew, and has to be started again: ask another one."],
  ceremony_unknown: ["not_found", "No request to an offline key with this ID is open."],
  store_busy: [
    "store_busy",
    "More requests wait for the database than the CA takes on; nothing was written: try again.",
  ],
  store_unavailable: [
    "store_unavailable",
    "The CA's database cannot be reached, or takes no writes: try again, with the same Idempotency-Key if there was one. An operator looks at \"countersign check\".",
  ],
  documents_changed: ["changed_meanwhile", "Operators, policies, services or federation were changed while the request was under way: look at them and try again."],
  log_inconsistent: [
    "store_unavailable",
    "The CA has stopped writing because its audit log does not fit its own head: an operator must look.",
  ],
};

/**
 * Kernel errors by the artefact their code begins with: what reaches HTTP unhandled is about the caller's own input.
 */
const pkiRefusal: readonly (readonly [prefix: string, code: ProblemCode])[] = [
  ["csr_", "csr_refused"],
  ["public_key_", "csr_refused"],
  ["der_", "csr_refused"],
  ["pem_", "csr_refused"],
  ["algorithm_", "csr_refused"],
  ["spiffe_id_", "spiffe_id_refused"],
  ["trust_domain_", "spiffe_id_refused"],
  ["renewal_proof_", "proof_refused"],
  ["certificate_", "proof_refused"],
  ["path_", "proof_refused"],
  ["svid_", "proof_refused"],
];

/** What a client waits before it tries a 503 again, unless the refusal says otherwise. */
const defaultRetrySeconds = 2;
