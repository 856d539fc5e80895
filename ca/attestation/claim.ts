import type { Attestation } from "../contract.ts";
import type { Claim } from "./identity.ts";
import { claimByJoinToken, type JoinTokenDeps } from "./join-token.ts";
import { claimByOperator, type Operator, type OperatorDeps } from "./operator.ts";
import { claimBySvid } from "./svid.ts";

export interface ClaimDeps extends JoinTokenDeps, OperatorDeps {}

/**
 * Authenticates whoever asks, by the kind of attestation they brought.
 * @throws {Refusal} what the attestor throws
 */
export function authenticateClaim(
  deps: ClaimDeps, attestation: Attestation, csrDer: Uint8Array, caller: Operator | undefined,
): Claim | Promise<Claim> {
  switch (attestation.type) {
    case "operator": return claimByOperator(deps, caller, attestation);
    case "svid": return claimBySvid(deps, attestation.proof, csrDer);
    case "join-token": return claimByJoinToken(deps, attestation, csrDer);
  }
}
