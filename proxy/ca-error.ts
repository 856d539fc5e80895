import type { Problem } from "../ca/contract/problem.ts";

/**
 * Why a question to the CA went unanswered. `ca_refused` is a definite no (4xx); everything else may pass by itself.
 * untrusted: what answered is not our CA. invalid: it is, but the answer makes no sense. unavailable: 5xx, 408, 429.
 */
export type CaErrorCode = "ca_unreachable" | "ca_timeout" | "ca_untrusted" | "ca_answer_invalid" | "ca_unavailable" | "ca_refused";

/** A failed call to the CA; the message says what to look at and holds neither token nor CSR. */
export class CaError extends Error {
  override readonly name = "CaError";
  readonly code: CaErrorCode;
  /** The CA's own code for its refusal. */
  readonly problemCode: Problem["code"] | undefined;
  /** What the CA asked us to wait. */
  readonly retryAfterMs: number | undefined;

  constructor(code: CaErrorCode, message: string, options: { cause?: unknown; problemCode?: Problem["code"]; retryAfterMs?: number } = {}) {
    super(message, options);
    this.code = code;
    this.problemCode = options.problemCode;
    this.retryAfterMs = options.retryAfterMs;
  }
}
