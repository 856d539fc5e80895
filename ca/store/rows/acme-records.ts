/** An account, order or authorization of ACME's, as JSON. */
export interface AcmeRecord {
  readonly id: string;
  /** As it was read; its successor has one more. */
  readonly version: number;
  readonly body: string;
  readonly untilMs: number;
}
