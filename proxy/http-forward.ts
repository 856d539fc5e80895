import { request as httpRequest, type Agent, type ClientRequest, type IncomingMessage, type InformationEvent, type RequestOptions, type ServerResponse } from "node:http";
import { endToEndHeaders, endToEndTrailers, readFraming, type FramingFault, type RequestBody } from "./http-headers.ts";

/** Where a request goes, and how. */
export interface Upstream {
  readonly agent: Agent;
  /** Handed to the agent: host and port, or what its `createConnection` needs. */
  readonly connect: RequestOptions;
  /** In origin form. */
  readonly path: string;
  /** Names and values that are set instead of what the client sent under these names. */
  readonly setHeaders: readonly string[];
}

/** What the owner of the client's connection decides and wants to know. */
export interface ForwardOwner {
  /** The upstream failed before it answered: what the client is told. */
  failed(request: IncomingMessage, error: Error): Answer;
  /** The head of a response, ours included, is on its way. */
  answered(request: IncomingMessage, status: number): void;
  /** Resets the client's connection: what it has got must not pass for the whole. */
  breakOff(request: IncomingMessage): void;
  /** True when the client's connection is to end after this response. */
  closing(request: IncomingMessage): boolean;
  /** An exchange was broken off because our own code threw. */
  bug(request: IncomingMessage, error: unknown): void;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/**
 * Carries one request to the upstream and its response back: streamed, with backpressure both ways, 1xx, trailers and early
 * responses; the failure of each side reaches the other.
 */
export function forwardRequest(request: IncomingMessage, response: ServerResponse, upstream: Upstream, owner: ForwardOwner): void {
  const framing = readFraming(request.rawHeaders, request.httpVersion);
  if (isFault(framing)) return answer(response, framingAnswers[framing], owner);
  let outgoing: ClientRequest | undefined;
  let answered = false;

  function attempt(retries: number): void {
    const sent = httpRequest({
      ...upstream.connect, agent: upstream.agent, method: request.method ?? "GET", path: upstream.path,
      headers: requestHeaders(request, framing as RequestBody, upstream.setHeaders),
    });
    // No limit in number: Node would leave out the rest silently.
    sent.maxHeadersCount = 0;
    outgoing = sent;
    sent.on("response", contained((incoming: IncomingMessage) => {
      answered = true;
      sendBack(incoming, sent, response, owner);
    }, request, owner));
    sent.on("information", contained((information: InformationEvent) => sendInformation(information, response), request, owner));
    sent.on("error", contained((error: Error) => {
      // Once the response has begun its own end tells; an upstream that answers early may refuse the rest of the body.
      if (answered || response.destroyed) return;
      if (retries < maxRetries && mayResend(request, framing as RequestBody, sent, error)) return attempt(retries + 1);
      answer(response, owner.failed(request, error), owner);
    }, request, owner));
    if (framing === "none") sent.end();
    else sendBody(request, sent, framing as RequestBody);
  }

  // Also the end of a response that went well.
  response.on("close", () => {
    if (response.writableFinished) return;
    outgoing?.destroy();
    owner.breakOff(request);
  });
  contained(attempt, request, owner)(0);
}

/** An event handler whose fault ends this one exchange and not the process. */
export function contained<Event extends readonly unknown[]>(handler: (...event: Event) => void, request: IncomingMessage, owner: ForwardOwner): (...event: Event) => void {
  return (...event) => {
    try {
      handler(...event);
    } catch (error) {
      owner.bug(request, error);
      owner.breakOff(request);
    }
  };
}

/** Answers instead of the upstream. The connection closes if a body is still coming that nobody will read. */
export function answer(response: ServerResponse, { status, text }: Answer, owner: Pick<ForwardOwner, "answered">): void {
  if (response.headersSent || response.destroyed) return void response.destroy();
  owner.answered(response.req, status);
  const headers = ["content-type", "text/plain; charset=utf-8", "content-length", String(Buffer.byteLength(text) + 1)];
  const { rawHeaders, httpVersion, complete } = response.req;
  if (!complete && readFraming(rawHeaders, httpVersion) !== "none") headers.push("connection", "close");
  response.writeHead(status, headers);
  response.end(`${text}\n`);
}

function requestHeaders({ rawHeaders, method }: IncomingMessage, framing: RequestBody, setHeaders: readonly string[]): string[] {
  const headers = endToEndHeaders(rawHeaders, framing === "chunked");
  for (let set = 0; set < setHeaders.length; set += 2) {
    for (let index = headers.length - 2; index >= 0; index -= 2) {
      if (headers[index]!.toLowerCase() === setHeaders[set]) headers.splice(index, 2);
    }
  }
  headers.push(...setHeaders);
  if (framing === "chunked") headers.push("transfer-encoding", "chunked");
  // Node would send an empty chunked body; for these methods no body is said by a length of 0 (RFC 9110 8.6).
  else if (framing === "none" && !bodilessMethods.has(method ?? "")) headers.push("content-length", "0");
  return headers;
}

function sendBody(request: IncomingMessage, outgoing: ClientRequest, framing: RequestBody): void {
  const onData = (chunk: Buffer): void => {
    if (!outgoing.write(chunk)) request.pause();
  };
  request.on("data", onData);
  outgoing.on("drain", () => request.resume());
  request.on("end", () => {
    if (framing === "chunked" && request.rawTrailers.length > 0) outgoing.addTrailers(endToEndTrailers(request.rawTrailers));
    outgoing.end();
  });
  // The upstream is gone or has answered early: what still comes is dropped, so that the client gets to its answer.
  outgoing.on("close", () => request.off("data", onData).resume());
  // The head goes with the first bytes of the body where they are here already, and alone where the client waits for an answer.
  setImmediate(() => { if (!outgoing.destroyed && !outgoing.writableEnded) outgoing.flushHeaders(); });
}

function sendInformation({ statusCode, rawHeaders }: InformationEvent, response: ServerResponse): void {
  if (response.headersSent || response.destroyed || response.req.httpVersion === "1.0") return;
  if (statusCode === 100) response.writeContinue();
  else response.writeInformation(statusCode, endToEndHeaders(rawHeaders));
}

/** Carries a response back to the client. */
export function sendBack(incoming: IncomingMessage, outgoing: ClientRequest, response: ServerResponse, owner: ForwardOwner): void {
  const { req: request } = response;
  const status = incoming.statusCode ?? 0;
  if (status < 200) {
    answer(response, noSuchStatus(status), owner);
    return void outgoing.destroy();
  }
  const chunked = incoming.headers["transfer-encoding"] !== undefined && request.httpVersion !== "1.0" && request.method !== "HEAD";
  const headers = endToEndHeaders(incoming.rawHeaders, chunked && status !== 204 && status !== 304);
  if (owner.closing(request)) headers.push("connection", "close");
  owner.answered(request, status);
  response.sendDate = false;
  response.writeHead(status, reasonPhrase(incoming), headers);
  let begun = false;
  incoming.on("data", (chunk: Buffer) => {
    begun = true;
    if (response.write(chunk)) return;
    incoming.pause();
    response.once("drain", () => incoming.resume());
  });
  incoming.on("end", contained(() => {
    begun = true;
    if (incoming.rawTrailers.length > 0 && response.chunkedEncoding) response.addTrailers(endToEndTrailers(incoming.rawTrailers));
    response.end();
    if (outgoing.writableFinished) return;
    // It answered without reading the whole body, so this upstream connection is of no further use.
    outgoing.destroy();
    setTimeout(() => { if (!request.complete) owner.breakOff(request); }, lingerMs).unref();
  }, request, owner));
  // 'close' follows and tells.
  incoming.on("error", () => undefined);
  incoming.on("close", () => {
    if (incoming.complete) return;
    owner.breakOff(request);
    response.destroy();
  });
  // Small bodies are here before the next tick and share a packet with the head; a slow one must not hold it back.
  process.nextTick(() => { if (!begun && !response.destroyed) response.flushHeaders(); });
}

/** The reason phrase as it came, or undefined, which is the usual one: Node reads bytes that it refuses to write. */
export function reasonPhrase({ statusMessage }: IncomingMessage): string | undefined {
  return statusMessage !== undefined && printable.test(statusMessage) ? statusMessage : undefined;
}

function noSuchStatus(status: number): Answer {
  return { status: 502, text: `countersign-proxy: 502: the server answered with status ${status}, which no client understands; correct the server` };
}

/** RFC 9112 9.3.1: the upstream closed an idle connection just as we used it, and the request may be sent twice. */
function mayResend({ method }: IncomingMessage, framing: RequestBody, outgoing: ClientRequest, { code }: NodeJS.ErrnoException): boolean {
  return framing === "none" && outgoing.reusedSocket && idempotentMethods.has(method ?? "") && (code === "ECONNRESET" || code === "EPIPE");
}

function isFault(framing: RequestBody | FramingFault): framing is FramingFault {
  return framing in framingAnswers;
}

const framingAnswers: Readonly<Record<FramingFault, Answer>> = {
  transfer_coding_unsupported: {
    status: 501, text: "countersign-proxy: 501: transfer codings other than chunked are not supported; send the body chunked or with a Content-Length",
  },
  transfer_coding_in_http_1_0: { status: 400, text: "countersign-proxy: 400: HTTP/1.0 has no Transfer-Encoding; send a Content-Length" },
  version_unsupported: { status: 505, text: "countersign-proxy: 505: only HTTP/1.1 and HTTP/1.0 are understood" },
  host_repeated: { status: 400, text: "countersign-proxy: 400: the request has more than one Host header; send one" },
  host_missing: { status: 400, text: "countersign-proxy: 400: the request has no Host header; HTTP/1.1 asks for one" },
};
/** @source RFC 9112 section 4 */
const printable = /^[\t\x20-\x7e\x80-\xff]+$/;
const bodilessMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"]);
const idempotentMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);
/** Stale connections of one pool fail one after another, so a second and third may be stale too. */
const maxRetries = 3;
/** How long a client may go on sending a body that the upstream has answered already (nginx's lingering_timeout). */
const lingerMs = 5000;
