import type { Server, Socket } from "node:net";
import type { DataPathDeps } from "../data-path.ts";
import type { Exchange, ExchangeEdge } from "../exchanges.ts";
import { answerText, type Answer } from "../http/answer.ts";
import { serveClient } from "../http/client.ts";
import type { ClientOwner, Route as HttpRoute, ServedClient } from "../http/owner.ts";
import { traceparentsOf, withTraceparent } from "../http/traced.ts";
import { parseAuthority, parseRequestTarget } from "../http/target.ts";
import type { UpstreamError } from "../http/upstream.ts";
import { lendingServer } from "../lent.ts";
import type { IdleWatch } from "../http/watch.ts";
import type { PipeEnd } from "../pipe.ts";
import type { Refusal } from "../refusals.ts";
import { DialError, type Dial } from "./dial.ts";
import { serveOutboundHttp2, type OutboundHttp2Deps } from "./http2.ts";
import type { DestinationPools } from "./pool.ts";
import type { Route, RouteTable } from "./routes.ts";
import { tunnel } from "./tcp.ts";

export interface HttpProxyDeps extends Pick<DataPathDeps, "config" | "source" | "exchanges" | "log"> {
  readonly dial: Dial;
  readonly routes: RouteTable;
  readonly pools: DestinationPools;
  readonly watch: IdleWatch;
  readonly refuse: (refusal: Refusal) => void;
}

export interface HttpProxy {
  readonly server: Server;
  /** Connections of the app end with the response under way. */
  retireAll(): void;
  cutAll(): void;
}

/**
 * Makes the forward proxy the app names in `http_proxy`: absolute-form requests, requests whose Host has a route, CONNECT and
 * WebSocket, and HTTP/2 by prior knowledge, each over mutual TLS to the identity its route names. What has no route is refused, never sent in plain text.
 */
export function httpProxy({ config, source, exchanges, log, dial, routes, pools, watch, refuse }: HttpProxyDeps): HttpProxy {
  const clients = new Map<Socket, ServedClient | undefined>();
  /** By server: routes and services are bounded. */
  const edges = { http: new Map<string, ExchangeEdge>(), http2: new Map<string, ExchangeEdge>() };

  /** @param serverId empty: nobody was asked */
  function edgeTo(serverId: string, protocol: "http" | "http2" = "http"): ExchangeEdge {
    const clientId = source.identity()?.id.uri ?? "";
    const before = edges[protocol].get(serverId);
    if (before?.ends.clientId === clientId) return before;
    const edge = exchanges.edge({
      direction: "outbound", clientId, serverId, tls: serverId !== "", ...(serverId === "" && { noTlsReason: "refused" }), protocol,
    });
    edges[protocol].set(serverId, edge);
    return edge;
  }

  function find(authority: string, fallbackPort: number): Route | Answer {
    const parsed = parseAuthority(authority);
    if (parsed === undefined) return noTarget;
    const port = parsed.port ?? fallbackPort;
    return routes.find(parsed.host, port) ?? noRoute(`${parsed.host}:${port}`);
  }

  const bug = (error: unknown): void => log.error({ error }, "a request was broken off by a fault of this proxy; please report it");
  const http2: OutboundHttp2Deps = {
    limits: config, watch, exchanges, dial, refuse, bug,
    edgeTo: (serverId) => edgeTo(serverId, "http2"), find: (authority) => find(authority, defaultPort), failed: failure,
  };

  function ownerOf(end: PipeEnd): ClientOwner<ProxiedRoute> {
    const { socket } = end;
    let exchange: Exchange | undefined;
    return {
      route(head) {
        const { method, target, host } = head;
        const parsed = parseRequestTarget(target);
        const route = parsed === undefined ? noTarget : find(parsed.authority ?? host ?? "", defaultPort);
        exchange = exchanges.begin(edgeTo("serverId" in route ? route.serverId.uri : ""), method, parsed?.path ?? "", () => traceparentsOf(head));
        if (!("serverId" in route)) return route;
        return { pool: pools.of(route), path: parsed!.path, host: parsed!.authority, addedLines: withTraceparent(nothing, exchange), serverId: route.serverId.uri };
      },
      connect({ target }) {
        const route = find(target, 0);
        if ("status" in route) return route;
        return (head) => {
          const refused = (error: Error): void => {
            socket.end(answerText(failure(route.serverId.uri, error), true));
            socket.destroySoon();
          };
          tunnel(socket, head, route, dial, config.idleTimeoutMs, refused, () => socket.write("HTTP/1.1 200 Connection Established\r\n\r\n"));
        };
      },
      failed: ({ serverId }, error) => failure(serverId, error as Error),
      answered: (_route, status) => exchange === undefined ? exchanges.rejected(edgeTo(""), status) : exchanges.answered(exchange, status),
      ended(whole) {
        if (exchange !== undefined) exchanges.ended(exchange, whole);
        exchange = undefined;
      },
      bug,
      http2: (first) => void clients.set(socket, serveOutboundHttp2(end, first, http2)),
    };
  }

  const server = lendingServer((socket) => {
    clients.set(socket, undefined);
    socket.once("close", () => clients.delete(socket));
    const end = { socket, lent: true, reset: () => void socket.resetAndDestroy() };
    clients.set(socket, serveClient(end, undefined, ownerOf(end), config, watch));
  });

  return {
    server,
    retireAll() {
      for (const client of clients.values()) client?.retire();
    },
    cutAll() {
      for (const socket of clients.keys()) socket.resetAndDestroy();
    },
  };
}

interface ProxiedRoute extends HttpRoute {
  readonly serverId: string;
}

function failure(server: string, error: Error): Answer {
  if (error instanceof DialError) {
    const status = error.code === "identity_unavailable" || error.code === "too_many_connections" ? 503 : error.code.endsWith("_timeout") ? 504 : 502;
    return { status, text: `countersign-proxy: ${status}: no connection to ${server}: ${error.message}` };
  }
  const { code } = error as UpstreamError;
  return {
    status: 502,
    text: `countersign-proxy: 502: ${server} closed the connection without an answer (${code ?? error.message}); if every request fails so, its proxy may not allow this identity: see its log`,
  };
}

function noRoute(hostAndPort: string): Answer {
  return {
    status: 403,
    text: `countersign-proxy: 403: no route for ${hostAndPort}; add a service at the CA, or --route HOST[:PORT]=ADDRESS:PORT,SPIFFE-ID to this proxy. Nothing is sent without mutual TLS`,
  };
}

const noTarget: Answer = {
  status: 400,
  text: "countersign-proxy: 400: name the server with http://host/path (an http_proxy client does) or a Host header; https is not taken apart, use http and leave TLS to the proxy",
};
const defaultPort = 80;
const nothing = Buffer.alloc(0);
