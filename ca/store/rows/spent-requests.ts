export interface SpentRequest {
  readonly spiffeId: string;
  readonly nonce: string;
  /** Until when it has to be remembered. */
  readonly untilMs: number;
}
