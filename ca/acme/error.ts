/** A refusal in ACME's words. @source RFC 8555 section 6.7; RFC 9773 section 7.4 */
export type AcmeErrorType =
  | "accountDoesNotExist" | "alreadyReplaced" | "alreadyRevoked" | "badCSR" | "badNonce" | "badPublicKey" | "badRevocationReason" | "badSignatureAlgorithm" | "connection" | "dns"
  | "externalAccountRequired" | "incorrectResponse" | "invalidContact" | "malformed" | "orderNotReady" | "rateLimited" | "rejectedIdentifier" | "serverInternal"
  | "tls" | "unauthorized" | "unsupportedContact" | "unsupportedIdentifier";

/** Why a request of ACME's is refused; the message is for whoever runs the client. */
export class AcmeError extends Error {
  override readonly name = "AcmeError";
  readonly type: AcmeErrorType;
  readonly status: number;
  /** Further headers of the answer. */
  readonly headers: Readonly<Record<string, string>>;
  /** Further members of the problem document. */
  readonly members: Readonly<Record<string, unknown>>;

  constructor(type: AcmeErrorType, message: string, { status = statusOf[type] ?? 400, headers = {}, members = {}, cause }: {
    readonly status?: number; readonly headers?: Readonly<Record<string, string>>; readonly members?: Readonly<Record<string, unknown>>; readonly cause?: unknown;
  } = {}) {
    super(message, { cause });
    this.type = type;
    this.status = status;
    this.headers = headers;
    this.members = members;
  }
}

/** As a problem document, also within an order or a challenge. */
export function problemOf({ type, message, status, members }: Pick<AcmeError, "type" | "message" | "status" | "members">): object {
  return { type: `urn:ietf:params:acme:error:${type}`, detail: message, status, ...members };
}

const statusOf: Partial<Record<AcmeErrorType, number>> = {
  unauthorized: 403, orderNotReady: 403, rateLimited: 429, serverInternal: 500, alreadyReplaced: 409, rejectedIdentifier: 403,
};
