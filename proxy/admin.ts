import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Readiness } from "../ca/contract/vitals.ts";
import { formatSocketAddress, isLoopback, type SocketAddress } from "./address.ts";
import type { Metrics } from "./metrics.ts";

/** What the admin listener shows. */
export interface AdminDeps {
  /** Loopback only: nobody is asked who they are. */
  readonly listen: SocketAddress;
  /** Each says why no traffic can be served, or undefined. */
  readonly unready: readonly (() => string | undefined)[];
  readonly metrics: Metrics;
  /** Path -> what is shown there as JSON. */
  readonly pages: Readonly<Record<string, () => unknown>>;
  /** Path -> what answers it as long as the reader stays. */
  readonly streams?: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse) => void>>;
}

/** The running admin listener. */
export interface Admin {
  /** `host:port`. */
  readonly address: string;
  close(): void;
}

/**
 * Serves `/livez`, `/readyz`, `/metrics` and the given pages; listens when it resolves. Read only.
 * @throws what listening throws, e.g. EADDRINUSE
 */
export async function startAdmin({ listen, unready, metrics, pages, streams = {} }: AdminDeps): Promise<Admin> {
  if (!isLoopback(listen.host)) throw new RangeError(`the admin listener stays on loopback, not ${listen.host}`);
  const routes = new Map<string, Route>([
    ["/livez", (_request, response) => answer(response, 200, "text/plain; charset=utf-8", "ok\n")],
    ["/readyz", (_request, response) => {
      const reasons = unready.flatMap((ask) => ask() ?? []);
      const readiness: Readiness = { ready: reasons.length === 0, reasons };
      json(response, readiness.ready ? 200 : 503, readiness);
    }],
    ["/metrics", (_request, response) => answer(response, 200, "text/plain; version=0.0.4; charset=utf-8", metrics.text())],
    ...Object.entries(pages).map(([path, read]) => [path, (_request: IncomingMessage, response: ServerResponse) => json(response, 200, read())] as const),
    ...Object.entries(streams),
  ]);
  const server = createServer(
    { headersTimeout: requestTimeoutMs, requestTimeout: requestTimeoutMs },
    (request, response) => serve(routes, request, response),
  );
  server.maxConnections = maxConnections;
  server.listen(listen.port, listen.host);
  await once(server, "listening");
  return {
    address: addressOf(server),
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

type Route = (request: IncomingMessage, response: ServerResponse) => void;

function serve(routes: ReadonlyMap<string, Route>, request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  // A page in a browser on this machine must not read this by a DNS name of its own (rebinding).
  if (!isLoopback(hostOf(request.headers.host ?? ""))) {
    return answer(response, 421, "text/plain; charset=utf-8", "ask by a loopback name, e.g. localhost\n");
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    return answer(response, 405, "text/plain; charset=utf-8", "read only\n");
  }
  const route = routes.get((request.url ?? "").split("?", 1)[0] ?? "");
  if (route === undefined) {
    return answer(response, 404, "text/plain; charset=utf-8", `there are ${[...routes.keys()].join(", ")}\n`);
  }
  route(request, response);
}

function hostOf(header: string): string {
  return header.replace(/:\d+$/, "").replaceAll(/[[\]]/g, "");
}

function json(response: ServerResponse, status: number, value: unknown): void {
  answer(
    response,
    status,
    "application/json",
    `${JSON.stringify(value, (_key, member: unknown) => (typeof member === "bigint" ? member.toString() : member), 2)}\n`,
  );
}

function answer(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(
    status, { "content-type": type, "cache-control": "no-store", "content-length": Buffer.byteLength(body) },
  );
  response.end(body);
}

function addressOf(server: Server): string {
  const { address, port } = server.address() as AddressInfo;
  return formatSocketAddress({ host: address, port });
}

const requestTimeoutMs = 5000;
/** A scraper, a probe and a few people. */
const maxConnections = 64;
