/**
 * `endpoint_unreachable`: nobody answers in time. `endpoint_untrusted`: who answers did not prove to be who was named.
 * `endpoint_answer`: its answer is none that is taken. `bundle_refused`: it is, and what it holds is not.
 * `hub_refused`: what is in a hub is not by the key it has to be by, or too old.
 */
export type FederationErrorCode = "endpoint_unreachable" | "endpoint_untrusted" | "endpoint_answer" | "bundle_refused" | "hub_refused";

/** Another trust domain's CA did not do its part; the last good bundle stays. */
export class FederationError extends Error {
  override readonly name = "FederationError";
  readonly code: FederationErrorCode;
  /** Of the answer, where there was one. */
  readonly status: number | undefined;

  constructor(code: FederationErrorCode, message: string, options?: { cause?: unknown; status?: number }) {
    super(message, options);
    this.code = code;
    this.status = options?.status;
  }
}
