import { Refusal } from "../refusal.ts";

/** A token that is no good by itself: what it says or how it is signed tells, or whoever was asked about it says why. */
export class TokenFault extends Refusal {
  constructor(attestor: string, why: string, cause?: unknown) {
    super("attestation_refused", `The attestor "${attestor}" refuses the token: ${why}.`, { cause });
  }
}
