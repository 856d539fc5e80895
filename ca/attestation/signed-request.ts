import { signedBytes, type RequestAuthorization, type SignedRequest } from "../pki/request-authorization.ts";
import type { SpiffeId } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";
import { verifyPossession, type PossessionDeps } from "./possession.ts";

export interface RequestVerifier {
  /**
   * Whose certificate's key signed this request.
   * @throws {Refusal} proof_refused | certificate_expired | certificate_revoked
   */
  verify(authorization: RequestAuthorization, request: SignedRequest): Promise<SpiffeId>;
  /**
   * Takes down that a request was acted upon, so that who overheard it cannot have it done again. Asked for after the caller's role is
   * known to allow it: only those who may act fill this memory.
   * @throws {Refusal} proof_refused | rate_limited
   */
  spend(authorization: RequestAuthorization): void;
}

/** Authenticates requests signed by an SVID of ours. What was spent is remembered by this process: each replica takes a request once. */
export function requestVerifier(deps: PossessionDeps): RequestVerifier {
  let young = new Set<string>();
  let old = new Set<string>();
  let turnedAtMs = 0;

  return {
    async verify(authorization, request) {
      const bound = signedBytes(request, authorization.nonce);
      const { svid } = await verifyPossession(deps, authorization.proof, bound, { graceMs: 0, purpose: "request", windowMs: requestWindowMs });
      return svid.id;
    },
    spend({ nonce }) {
      const nowMs = deps.now().getTime();
      if (Math.abs(nowMs - turnedAtMs) >= 2 * requestWindowMs) {
        old = young;
        young = new Set();
        turnedAtMs = nowMs;
      }
      if (young.has(nonce) || old.has(nonce)) {
        throw new Refusal("proof_refused", "This signed request was sent before, and is good once; sign each request anew, with a nonce of its own.");
      }
      if (young.size >= maxSpent) {
        throw new Refusal("rate_limited", "More signed requests came than can be told apart from repetitions; try again in two minutes.", { retryAfterSeconds: 120 });
      }
      young.add(nonce);
    },
  };
}

/** How far the proof's clock may be from ours; a proof of the future is good for twice this long. */
const requestWindowMs = 60_000;
/** In two minutes; some 10 MB. */
const maxSpent = 50_000;
