import type { Attestation } from "../contract/attestation.ts";
import type { Claim } from "./identity.ts";
import type { Attestors } from "./attestors.ts";
import { claimByJoinToken, type JoinTokenDeps } from "./join-token.ts";
import { claimByOperator, type Operator, type OperatorDeps } from "./operator.ts";
import { claimBySvid, type SvidDeps } from "./svid.ts";

export interface ClaimDeps extends JoinTokenDeps, OperatorDeps, Pick<SvidDeps, "attestors"> {
  readonly attestors: Attestors;
}

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
    case "kubernetes":
    case "oidc":
    case "x509":
    case "aws-iam": return deps.attestors.claim(attestation, csrDer);
  }
}
