import type { Attestation } from "../contract.ts";
import type { Claim } from "./identity.ts";
import { claimByJoinToken, type JoinTokenDeps } from "./join-token.ts";
import { claimByOperator, type Operator } from "./operator.ts";
import { claimBySvid } from "./svid.ts";

/**
 * Authenticates whoever asks, by the kind of attestation they brought.
 * @throws {Refusal} what the attestor throws
 */
export function authenticateClaim(
  deps: JoinTokenDeps, attestation: Attestation, csrDer: Uint8Array, caller: Operator | undefined,
): Claim | Promise<Claim> {
  switch (attestation.type) {
    case "operator": return claimByOperator(caller, attestation);
    case "svid": return claimBySvid(deps, attestation.proof, csrDer);
    case "join-token": return claimByJoinToken(deps, attestation, csrDer);
  }
}
