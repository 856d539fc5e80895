import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { SocketAddress } from "./address.ts";
import { listen as listenAt } from "./listen.ts";

/** What answers one path. */
export type Page = (request: IncomingMessage, response: ServerResponse) => void;

/** A listener of the proxy's own, beside those that carry traffic. */
export interface PageServer {
  /** `host:port`. */
  readonly address: string;
  close(): void;
}

export interface PagesDeps {
  readonly listen: SocketAddress;
  /** By path, queries aside. */
  readonly pages: ReadonlyMap<string, Page>;
  /** Looks at each request first. @returns why it is not answered at all: 421 */
  readonly misdirected?: (request: IncomingMessage) => string | undefined;
  /** From a connection's or request's first byte to its last; default 5 s. */
  readonly requestTimeoutMs?: number;
  /** Before it listens. */
  readonly prepare?: (server: Server) => void;
}

/**
 * Serves these pages over plain HTTP, to be read and nothing else; listens when it resolves.
 * @throws what listening throws, e.g. EADDRINUSE
 */
export async function servePages({ listen, pages, misdirected, requestTimeoutMs = defaultRequestTimeoutMs, prepare }: PagesDeps): Promise<PageServer> {
  // Node looks for those that are late each 30 s, unless it is told to.
  const late = { headersTimeout: requestTimeoutMs, requestTimeout: requestTimeoutMs, connectionsCheckingInterval: requestTimeoutMs / 5 };
  const server = createServer(late, (request, response) => {
    request.resume();
    const reason = misdirected?.(request);
    if (reason !== undefined) return answerText(response, 421, reason);
    if (request.method !== "GET" && request.method !== "HEAD") return answerText(response, 405, "read only\n");
    const page = pages.get((request.url ?? "").split("?", 1)[0] ?? "");
    if (page === undefined) return answerText(response, 404, `there are ${[...pages.keys()].join(", ")}\n`);
    page(request, response);
  });
  prepare?.(server);
  const address = await listenAt(server, listen);
  return {
    address,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Answers with text, as plain as it is. */
export function answerText(response: ServerResponse, status: number, body: string): void {
  answer(response, status, "text/plain; charset=utf-8", body);
}

/** Answers with JSON for people; numbers that are too large for it are text. */
export function answerJson(response: ServerResponse, status: number, value: unknown): void {
  answer(
    response,
    status,
    "application/json",
    `${JSON.stringify(value, (_key, member: unknown) => (typeof member === "bigint" ? member.toString() : member), 2)}\n`,
  );
}

/** Answers with metrics. @source Prometheus exposition formats, text format 0.0.4 */
export function answerMetrics(response: ServerResponse, text: string): void {
  answer(response, 200, "text/plain; version=0.0.4; charset=utf-8", text);
}

function answer(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(
    status, { "content-type": type, "cache-control": "no-store", "content-length": Buffer.byteLength(body) },
  );
  response.end(body);
}

const defaultRequestTimeoutMs = 5000;
