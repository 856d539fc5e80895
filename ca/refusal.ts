import type { ProblemCode } from "./contract/problem.ts";

/**
 * A request the CA declines, thrown by use-cases: the code is stable, the message is the problem's `detail` and says what
 * happened, to what, why, and what to do next. It never holds a secret.
 */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly code: ProblemCode;
  /** Seconds a client should wait before it tries again. */
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ProblemCode, detail: string, options?: { cause?: unknown; retryAfterSeconds?: number }) {
    super(detail, options);
    this.code = code;
    this.retryAfterSeconds = options?.retryAfterSeconds;
  }
}
