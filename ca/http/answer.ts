import { mediaType, requestIdHeader } from "../contract/headers.ts";
import { isPlain, plainResponse } from "./plain.ts";

/** What a handler answers, as data; `toResponse` is the only place that makes a Response of it. */
export interface Answer {
  readonly status: number;
  /** Null for an answer without a body; a stream for one without an end. */
  readonly body: string | Uint8Array | ReadableStream<Uint8Array> | null;
  /** Default application/json. */
  readonly contentType?: string;
  /** Lower-case names; what is set here wins over the defaults below. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A JSON answer. */
export function json(value: unknown, status = 200, headers?: Readonly<Record<string, string>>): Answer {
  return { status, body: JSON.stringify(value), headers };
}

/** An answer without a body. */
export function noContent(headers?: Readonly<Record<string, string>>): Answer {
  return { status: 204, body: null, headers };
}

/**
 * An answer to a public document that changes rarely: 304 when the caller holds it already, and told to ask each time.
 * @param etag  with its quotes; unlike for each representation
 */
export function conditional(request: Request, etag: string, answer: () => Answer): Answer {
  const headers = { etag, "cache-control": "no-cache", vary: "accept" };
  if (isHeld(request, etag)) return { status: 304, body: null, headers };
  const full = answer();
  return { ...full, headers: { ...full.headers, ...headers } };
}

/** Whether the caller says that it holds what has this tag (If-None-Match). */
export function isHeld(request: Request, etag: string): boolean {
  const held = request.headers.get("if-none-match");
  if (held === null) return false;
  return held === "*" || held.split(",").some((candidate) => candidate.trim().replace(/^W\//, "") === etag);
}

/** Whether the caller asks for PEM by name; no Accept header and one with stars mean JSON. */
export function wantsPem(request: Request): boolean {
  const accept = request.headers.get("accept");
  if (accept === null) return false;
  return accept.split(",").some((range) => pemTypes.has(range.split(";", 1)[0]!.trim().toLowerCase()));
}

/**
 * The Response, with the headers that every answer carries. Headers are a plain object: a `Headers` costs 2 us more.
 * @param request  what it answers; one that is plain has a plain answer
 */
export function toResponse({ status, body, contentType, headers }: Answer, requestId: string, request?: Request): Response {
  const all: Record<string, string> = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    [requestIdHeader]: requestId,
  };
  if (body !== null) all["content-type"] = contentType ?? mediaType.json;
  if (headers !== undefined) Object.assign(all, headers);
  if (request !== undefined && isPlain(request) && (body === null || typeof body === "string" || body instanceof Uint8Array)) return plainResponse(status, all, body);
  return new Response(body as Exclude<Answer["body"], Uint8Array> | Uint8Array<ArrayBuffer>, { status, headers: all });
}

const pemTypes: ReadonlySet<string> = new Set([mediaType.pem, "application/pem-certificate-chain"]);
