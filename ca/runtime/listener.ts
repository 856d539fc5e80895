import { getRequestListener } from "@hono/node-server";
import { createServer, type Server } from "node:https";
import { createServer as createPlainServer, STATUS_CODES, type IncomingMessage, type Server as PlainServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import type { SecureContext } from "node:tls";
import { hostToListenOn } from "../config/values.ts";
import type { ProblemCode } from "../contract/problem.ts";
import { problemAnswer } from "../http/problem.ts";
import { connectionPlaces, type ConnectionPlaces } from "./connection-places.ts";
import { RuntimeError } from "./errors.ts";

/**
 * Every bound on what a client may make us hold or wait for; those that an operator may set come from the
 * configuration.
 */
export interface ListenerLimits {
  /** From a request's first byte to its last, headers and body. */
  readonly requestTimeoutMs: number;
  readonly maxConnections: number;
}

export interface Listener {
  readonly port: number;
  /** Presents what `contextOf` has for a server name, where it has something. */
  presentFor(contextOf: (serverName: string) => SecureContext | undefined): void;
  /** Presents this key and chain from the next handshake on; connections that are open stay. */
  present(credentials: { readonly key: string; readonly chain: string }): void;
  /** From now on requests are answered, by the last one that was given; before, handshakes fail for want of a certificate. */
  serve(fetch: (request: Request, env: object) => Response | Promise<Response>): void;
  /**
   * Takes no new connection, lets requests under way finish, cuts what is left at the deadline; resolves when all is
   * closed.
   */
  drain(deadlineMs: number): Promise<void>;
}

export type PlainListener = Omit<Listener, "present" | "presentFor">;

/**
 * Opens the HTTPS listener: TLS 1.3, HTTP/1.1, and a bound on everything.
 * @throws {RuntimeError} listen_failed
 */
export async function openListener(
  host: string,
  port: number,
  limits: ListenerLimits,
): Promise<Listener> {
  let contextOf: (serverName: string) => SecureContext | undefined = () => undefined;
  const server = createServer({ handshakeTimeout: handshakeTimeoutMs, SNICallback: (serverName, done) => done(null, contextOf(serverName)), ...httpLimits(limits) });
  // A peer that breaks its handshake is its own problem and no event of ours.
  server.on("tlsClientError", (_, socket) => void socket.destroy());
  const places = await openServer(server, host, port, limits, "--listen");
  return {
    ...listenerOf(server, places),
    presentFor: (next) => void (contextOf = next),
    present: ({ key, chain }) => server.setSecureContext({ key, cert: chain, minVersion: "TLSv1.3" }),
  };
}

/**
 * Opens a listener for plain HTTP/1.1, with the same bounds: for what is signed by itself.
 * @throws {RuntimeError} listen_failed
 */
export async function openPlainListener(host: string, port: number, limits: ListenerLimits): Promise<PlainListener> {
  const server = createPlainServer(httpLimits(limits));
  return listenerOf(server, await openServer(server, host, port, limits, "--status-listen"));
}

function httpLimits({ requestTimeoutMs }: ListenerLimits) {
  return {
    maxHeaderSize: maxHeaderBytes,
    requestTimeout: requestTimeoutMs,
    connectionsCheckingInterval: checkIntervalMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    // Without it the first answer on a connection waits 40 ms for an acknowledgement.
    noDelay: true,
  };
}

async function openServer(server: Server | PlainServer, host: string, port: number, { maxConnections }: ListenerLimits, flag: string): Promise<ConnectionPlaces> {
  const places = connectionPlaces(server, maxConnections);
  server.timeout = stalledTimeoutMs;
  server.on("clientError", answerClientError);
  await listen(server, host, port, flag);
  return places;
}

function listenerOf(server: Server | PlainServer, places: ConnectionPlaces): PlainListener {
  return {
    port: (server.address() as AddressInfo).port,
    serve(fetch) {
      const answer = getRequestListener(fetch);
      server.removeAllListeners("request").on("request", (request, response) => {
        holdPlace(places, request, response);
        void answer(request, response);
      });
    },
    drain: (deadlineMs) => drain(server, deadlineMs),
  };
}

/** Of who sends a request slowly, nothing is being answered yet. */
function holdPlace(places: ConnectionPlaces, request: IncomingMessage, response: ServerResponse): void {
  let end: (() => void) | undefined;
  let over = false;
  const begin = (): void => void (over || (end = places.begin(request.socket)));
  response.once("close", () => {
    over = true;
    end?.();
  });
  const { "content-length": length, "transfer-encoding": chunks } = request.headers;
  if (length === undefined && chunks === undefined) begin();
  else request.once("end", begin);
}

function listen(server: Server | PlainServer, host: string, port: number, flag: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException): void => {
      const why = listenFailures[cause.code ?? ""] ?? String(cause.code);
      reject(
        new RuntimeError(
          "listen_failed",
          `cannot listen on ${host}:${port}: ${why}; choose another address with ${flag}`,
          { cause },
        ),
      );
    };
    server.once("error", onError);
    server.listen(port, hostToListenOn(host), () => {
      server.off("error", onError);
      resolve();
    });
  });
}

/** What Node's parser refuses never reaches the app: answered here, with the same kind of document. */
function answerClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [code, detail] = clientErrors[error.code ?? ""] ?? malformed;
  const { status, contentType, body } = problemAnswer(code, detail);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `content-type: ${contentType}`,
    `content-length: ${Buffer.byteLength(body ?? "")}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}

function drain(server: Server | PlainServer, deadlineMs: number): Promise<void> {
  return new Promise((resolve) => {
    const deadline = setTimeout(() => server.closeAllConnections(), deadlineMs);
    // A connection that was busy when we began becomes idle and would be kept for its next request.
    const sweep = setInterval(() => server.closeIdleConnections(), sweepIntervalMs);
    server.close(() => {
      clearTimeout(deadline);
      clearInterval(sweep);
      resolve();
    });
    server.closeIdleConnections();
  });
}

const listenFailures: Readonly<Record<string, string>> = {
  EADDRINUSE: "another process listens there",
  EACCES: "ports below 1024 need a privilege",
  EADDRNOTAVAIL: "this machine does not have that address",
  ENOTFOUND: "no such host name",
};
const clientErrors: Readonly<Record<string, readonly [ProblemCode, string]>> = {
  HPE_HEADER_OVERFLOW: [
    "headers_too_large",
    "The request's headers are larger than 16 KiB; is a cookie of another site among them?",
  ],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ["body_too_large", "The body's chunks carry more than their data."],
  ERR_HTTP_REQUEST_TIMEOUT: [
    "request_timeout",
    "The request did not arrive in full in time: send it at once, on a connection of its own.",
  ],
};
const malformed = ["invalid_request", "This is not HTTP/1.1 as RFC 9112 has it."] as const;

const maxHeaderBytes = 16 * 1024;
const handshakeTimeoutMs = 10_000;
/** Longer than the usual poll of a proxy, so that it keeps its connection. */
const keepAliveTimeoutMs = 30_000;
/** A client that takes no byte of its answer for this long is dropped. */
const stalledTimeoutMs = 60_000;
const checkIntervalMs = 1_000;
const sweepIntervalMs = 50;
