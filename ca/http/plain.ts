import type { Answer } from "./answer.ts";

/**
 * Requests and responses for a function, whose events and answers are whole: as much of the classes as the API looks at. The classes themselves
 * come with an HTTP client, HTTP/2 and TLS (undici), which Node.js loads when the first of them is named: a fifth of a cold start.
 */
export interface PlainParts {
  readonly method: string;
  readonly url: URL;
  /** Lower-case names. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array | undefined;
}

/** @returns what has `method`, `url`, `headers` (to read), `body` (to iterate), `text` and `arrayBuffer` of a Request, and nothing else */
export function plainRequest({ method, url: { href: url }, headers, body }: PlainParts): Request {
  const bytes = body ?? new Uint8Array();
  const request = {
    method, url, headers: plainHeaders(headers), body: body === undefined ? null : chunksOf(body),
    text: async () => Buffer.from(bytes).toString("utf8"),
    arrayBuffer: async () => Uint8Array.from(bytes).buffer,
  } as unknown as Request;
  plain.set(request, body);
  return request;
}

/** Whether it is to be answered by `plainResponse`. */
export function isPlain(request: Request): boolean {
  return plain.has(request);
}

/** The same as a Request, for whoever looks at more of it. */
export function properRequest(request: Request): Request {
  if (!isPlain(request)) return request;
  const body = plain.get(request);
  return new Request(request.url, { method: request.method, headers: [...request.headers], ...(body !== undefined && { body: Uint8Array.from(body) }) });
}

/** @returns what has `status`, `headers` (to read), `body` (to iterate) and `arrayBuffer` of a Response, and nothing else */
export function plainResponse(status: number, headers: Readonly<Record<string, string>>, body: Exclude<Answer["body"], ReadableStream>): Response {
  const bytes = body === null ? new Uint8Array() : Buffer.from(body);
  return {
    status, headers: plainHeaders(new Map(Object.entries(headers))), body: body === null ? null : chunksOf(bytes),
    arrayBuffer: async () => Uint8Array.from(bytes).buffer,
  } as unknown as Response;
}

function plainHeaders(headers: ReadonlyMap<string, string>): Headers {
  return {
    get: (name: string) => headers.get(name.toLowerCase()) ?? null,
    has: (name: string) => headers.has(name.toLowerCase()),
    getSetCookie: () => [...headers].flatMap(([name, value]) => (name === "set-cookie" ? [value] : [])),
    keys: () => headers.keys(),
    [Symbol.iterator]: () => headers.entries(),
  } as unknown as Headers;
}

function chunksOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return [bytes] as unknown as ReadableStream<Uint8Array>;
}

/** Each with its body. */
const plain = new WeakMap<Request, Uint8Array | undefined>();
