import { AuthorityError, type UpstreamErrorCode } from "../authority/errors.ts";

/** The CA above did not do its part; what is held stays in use. */
export class UpstreamError extends AuthorityError {
  /** Of its answer, where there was one. */
  readonly status: number | undefined;

  constructor(code: UpstreamErrorCode, message: string, options?: { cause?: unknown; status?: number }) {
    super(code, message, options);
    this.status = options?.status;
  }
}

/** Whether it declined for good, so that the same again would be declined again. */
export function isDeclined(error: unknown): boolean {
  if (!(error instanceof UpstreamError) || error.status === undefined) return false;
  return error.status >= 400 && error.status < 500 && error.status !== requestTimeout && error.status !== tooManyRequests;
}

const requestTimeout = 408;
const tooManyRequests = 429;
