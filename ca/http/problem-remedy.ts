import { problemStatus, type ProblemCode } from "../contract/problem.ts";
import { problemTitle } from "./problem.ts";

/** The table of error codes as Markdown, for ca/README.md: what each means, and what to do; the answer's `detail` says it of the case at hand. */
export function renderProblems(): string {
  const codes = (Object.keys(problemStatus) as ProblemCode[]).sort((one, other) => problemStatus[one] - problemStatus[other]);
  const rows = codes.map((code) => [`\`${code}\``, String(problemStatus[code]), problemTitle[code], problemRemedy[code]]);
  const header = ["code", "status", "what happened", "what to do"];
  return [header, header.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |\n`).join("");
}

const again = "try again after what `Retry-After` says";

/** What to do about a problem, whoever has it. */
const problemRemedy: Readonly<Record<ProblemCode, string>> = {
  invalid_request: "correct the member that `detail` names; `/docs` has the form",
  csr_refused: "send a PKCS#10 request signed by its own key, of a kind the profile takes",
  policy_refused: "correct what `detail` names",
  spiffe_id_refused: "ask for an ID of this trust domain that the token, attestor or scope gives",
  dns_name_refused: "leave the name out, or have it added to the token, rule or profile",
  ip_address_refused: "leave it out, or have the profile's `ipRanges` changed",
  lifetime_refused: "ask for less, or have `certificateLifetimeMax` or the profile changed",
  federation_refused: "correct the endpoint, or the other CA's `publicUrl`",
  unauthenticated: "name an API token with `--token-file`, or an SVID with `--svid-cert` and `--svid-key`; one that was deleted or has expired is none",
  attestation_refused: "look at the attestor's rules and at the evidence; the CA's audit log has the reason",
  attestation_required: "bring the platform's evidence again: this line of certificates takes no renewal by itself",
  token_unknown: "make another token: this one was deleted, or is another CA's",
  token_expired: "make another one, with a longer `--ttl` if it waits",
  token_already_redeemed: "if the workload was not it, somebody else has its identity: revoke that certificate; else make another token",
  proof_refused: "sign the request anew, with a nonce and time of its own; compare the clocks",
  certificate_expired: "attest anew: with the join token within `reattestGrace`, or another one",
  certificate_revoked: "make another token for a workload that is to come back",
  forbidden: "call with another role or scope, or have this one widened",
  invitation_refused: "make another invitation; if this one was taken by somebody you did not mean, remove that trust domain",
  not_found: "look at what there is: `list` of the same command",
  method_not_allowed: "use one of the methods in `Allow`",
  request_timeout: "send the request faster, or raise `requestTimeout`",
  operator_exists: "remove the role first",
  issuer_refused: "change what `detail` names; an issuer for our own trust domain is never signed",
  key_reused: "make a new key for each certificate",
  already_revoked: "nothing: it is refused already",
  certificate_not_revocable: "an authority is revoked by `countersign authority revoke`",
  changed_meanwhile: "read it again, and try again",
  bundle_unknown: "read the bundle again, and acknowledge that one",
  federation_exists: "remove it first, or refresh it",
  authority_held_back: "wait for the holders that `detail` names, or look at their proxies; `--force` cuts them off",
  authority_state: "look at `countersign authority list`: it is not in a state for this step",
  body_too_large: "send less, or raise `bodyLimit`",
  media_type_unsupported: "send `content-type: application/json`",
  idempotency_key_reused: "use another key for another request",
  rate_limited: `${again}; \`callerRate\`, \`workloadRate\` and \`anonymousRate\` are the limits`,
  headers_too_large: "send fewer headers, or shorter ones",
  lint_failed: "the rules that were broken are in the audit log, `lint.failed`: correct profile or names",
  internal: "look in the CA's log for the request ID in `detail`, and report it",
  federation_failed: "what the other CA answered is in `detail`",
  attestor_unavailable: `${again}; look whether the CA reaches the attestor's API or keys`,
  issuer_unavailable: "look at `countersign check`: an authority has ended, or its key cannot be asked",
  clock_uncertain: "set the clocks of CA and database; `countersign clock confirm` if the CA's is right",
  sealing_key_unavailable: "look at KMS, and at the CA's permission to decrypt",
  watchers_full: "poll meanwhile, as proxies do; raise `maxWatchers`",
  store_busy: again,
  store_unavailable: "look at the database, its disk and the way to it; proxies go on with what they have",
};
