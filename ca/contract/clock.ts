/** `POST /v1/clock`. */
export interface ConfirmClockRequest {
  /** RFC 3339, UTC: by a clock that is not the CA's. */
  readonly time: string;
}

/** Its answer. */
export interface ClockConfirmation {
  /** The CA's. */
  readonly time: string;
  /** What was wrong with it until now. */
  readonly doubt?: string;
}
