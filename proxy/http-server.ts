import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";

export interface HttpServerOptions {
  readonly idleTimeoutMs: number;
  /** How long a request's head may take. Default 10 s. */
  readonly headTimeoutMs?: number;
  onRequest(request: IncomingMessage, response: ServerResponse): void;
  onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void;
  onConnect(request: IncomingMessage, socket: Socket, head: Buffer): void;
}

/**
 * Makes a strict HTTP/1.1 server that is handed its connections (`emit("connection", socket)`) or listens itself. Pipelined
 * requests are served one after another, as they were meant.
 */
export function httpServer({ idleTimeoutMs, headTimeoutMs = defaultHeadTimeoutMs, onRequest, onUpgrade, onConnect }: HttpServerOptions): Server {
  const last = new WeakMap<Socket, ServerResponse>();
  const unanswered = (socket: Socket): ServerResponse | undefined => {
    const before = last.get(socket);
    return before === undefined || before.writableFinished || before.closed ? undefined : before;
  };
  const inOrder = (request: IncomingMessage, response: ServerResponse): void => {
    const before = unanswered(request.socket);
    last.set(request.socket, response);
    // RFC 9112 9.3.2: only safe methods may be worked on at the same time.
    if (before === undefined) onRequest(request, response);
    else before.once("close", () => { if (!response.destroyed) onRequest(request, response); });
  };
  // Node hands the socket over at once, so the answer would overtake the responses before it.
  const onlyAfterAnswers = (take: HttpServerOptions["onUpgrade"]) => (request: IncomingMessage, socket: Socket, head: Buffer): void => {
    const before = unanswered(socket);
    if (before === undefined) return take(request, socket, head);
    socket.on("error", () => undefined);
    if (before.headersSent) socket.destroy();
    else writeRawAnswer(socket, pipelinedTakeover);
  };
  const server = createServer({
    insecureHTTPParser: false,
    maxHeaderSize: maxHeadBytes,
    headersTimeout: headTimeoutMs,
    connectionsCheckingInterval: headTimeoutMs / 2,
    // A body may stream for hours; what stands still is ended by the idle timeout.
    requestTimeout: 0,
    keepAliveTimeout: keepAliveMs,
    // Judged by `readFraming`, which says why.
    requireHostHeader: false,
    // Other upgrades are ignored, as RFC 9110 7.8 allows: after one to h2c a client could send any identity header it likes.
    shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === "websocket",
  }, inOrder);
  server.timeout = idleTimeoutMs;
  // Node would silently leave out headers beyond a count; the size of the head bounds them already.
  server.maxHeadersCount = 0;
  server.on("checkContinue", inOrder);
  server.on("upgrade", onlyAfterAnswers(onUpgrade));
  server.on("connect", onlyAfterAnswers(onConnect));
  server.on("clientError", refuseMalformed);
  return server;
}

/** Starts the watch over slow heads in a server that is handed its connections: Node starts it with the listener. */
export function watchSlowHeads(server: Server): void {
  server.emit("listening");
}

/** Writes a whole response onto a socket that no `ServerResponse` belongs to, and closes it. */
export function writeRawAnswer(socket: Socket, { status, text }: { readonly status: number; readonly text: string }): void {
  if (!socket.writable) return void socket.destroy();
  const body = `${text}\n`;
  socket.end(
    `HTTP/1.1 ${status} ${reasonPhrases[status] ?? "Refused"}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `Connection: close\r\n\r\n${body}`,
  );
  socket.destroySoon();
}

function refuseMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  // A response has begun: another head in its middle would be taken for its body.
  if (!socket.writable || error.code === "ECONNRESET" || socket.bytesWritten > 0) return void socket.destroy();
  const answer = malformedAnswers[error.code ?? ""];
  writeRawAnswer(socket, answer ?? { status: 400, text: "countersign-proxy: 400: this is not an HTTP/1.1 request; the connection is closed" });
}

const reasonPhrases: Readonly<Record<number, string>> = {
  400: "Bad Request", 403: "Forbidden", 405: "Method Not Allowed", 408: "Request Timeout", 431: "Request Header Fields Too Large", 501: "Not Implemented",
  502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
};
const malformedAnswers: Readonly<Record<string, { readonly status: number; readonly text: string }>> = {
  HPE_HEADER_OVERFLOW: { status: 431, text: "countersign-proxy: 431: the request line and headers exceed 16 KiB" },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, text: "countersign-proxy: 408: the request head did not arrive in time" },
};
const pipelinedTakeover = { status: 400, text: "countersign-proxy: 400: an upgrade or CONNECT came behind a request that is not answered yet; wait for the answer first" };
/** What Node, nginx and Go's clients expect to be enough. */
const maxHeadBytes = 16 * 1024;
const defaultHeadTimeoutMs = 10_000;
/** Longer than any pool of ours keeps an idle connection, so that the side which sends is the side which closes. */
const keepAliveMs = 75_000;
