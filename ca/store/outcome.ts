import type { Act, Receipt } from "./acts.ts";
import type { StoreErrorCode } from "./errors.ts";

/** What happened to one act, as plain data: it crosses threads. */
export type Outcome = Receipt | Refused;

/** Why an act was not done. */
export interface Refused {
  readonly code: StoreErrorCode;
  readonly message: string;
  /** Absent means true: see StoreError. */
  readonly outcomeKnown?: boolean;
}

/** An act that is refused: nothing of it was written. */
export function refused(code: StoreErrorCode, message: string): Refused {
  return { code, message };
}

/** The outcome of each act in a group that failed as a whole. */
export function failGroup(acts: readonly Act[], { code, message, outcomeKnown }: Refused): readonly Refused[] {
  return acts.map(() => ({ code, message, outcomeKnown }));
}
