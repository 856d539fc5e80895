import { signedBytes, type RequestAuthorization, type SignedRequest } from "../pki/request-authorization.ts";
import type { SpiffeId } from "../pki/spiffe-id.ts";
import { rateBuckets } from "../rate-buckets.ts";
import { Refusal } from "../refusal.ts";
import type { Store } from "../store/store.ts";
import { verifyPossession, type PossessionDeps } from "./possession.ts";

export interface RequestVerifierDeps extends PossessionDeps {
  readonly store: Pick<Store, "certificate" | "spendRequest">;
}

export interface RequestSigner {
  readonly id: SpiffeId;
  readonly serialNumber: string;
  readonly notAfterMs: number;
}

export interface RequestVerifier {
  /**
   * Whose certificate's key signed this request, and which certificate that is.
   * @throws {Refusal} proof_refused | certificate_expired | certificate_revoked
   */
  verify(authorization: RequestAuthorization, request: SignedRequest): Promise<RequestSigner>;
  /**
   * Takes down that a request is acted upon, so that who overheard it cannot have it done again, at this replica or another. Asked for
   * after the caller's role and rate are known to allow it: only those who may act fill this memory, each its own part.
   * @throws {Refusal} proof_refused | rate_limited
   */
  spend(authorization: RequestAuthorization, spiffeId: string): Promise<void>;
}

/**
 * Authenticates requests signed by an SVID of ours. A request is spent before it is acted upon, in a write of its own and not in the
 * act's commit: no act can forget it, none begins twice (some sign before they commit), and if we die in between nothing was done and
 * the client signs anew.
 */
export function requestVerifier(deps: RequestVerifierDeps): RequestVerifier {
  const spending = rateBuckets({ perSecond: maxActsPerSecond, burst: maxActsAtOnce });

  return {
    async verify(authorization, request) {
      const bound = signedBytes(request, authorization.nonce);
      const { svid, row: { serialNumber, notAfterMs } } = await verifyPossession(deps, authorization.proof, bound, { graceMs: 0, purpose: "request", windowMs: requestWindowMs });
      return { id: svid.id, serialNumber, notAfterMs };
    },
    async spend({ nonce }, spiffeId) {
      const nowMs = deps.now().getTime();
      const waitMs = spending.take(spiffeId, nowMs);
      if (waitMs > 0) {
        const seconds = Math.max(1, Math.ceil(waitMs / 1000));
        throw new Refusal(
          "rate_limited",
          `${spiffeId} signs more than ${maxActsPerSecond} acts a second. Try again in ${seconds} s plus a random part of ${seconds * 2} s.`,
          { retryAfterSeconds: seconds },
        );
      }
      if (await deps.store.spendRequest({ spiffeId, nonce, untilMs: nowMs + rememberedMs }, nowMs)) return;
      throw new Refusal("proof_refused", "This signed request was sent before, and is good once; sign each request anew, with a nonce of its own.");
    },
  };
}

/** How far the proof's clock may be from ours; a proof of the future is good for twice this long. */
const requestWindowMs = 60_000;
/** A minute longer than any proof is good for: replicas' clocks differ. */
const rememberedMs = 3 * requestWindowMs;
/** Bounds also admins, whom no rate does: some 10 MB of rows for each identity that tries, at each replica. */
const maxActsPerSecond = 500;
const maxActsAtOnce = 5_000;
