import { createServer, type Server, type Socket } from "node:net";
import type { DataPathDeps } from "../data-path.ts";
import { answerText, type Answer } from "../http/answer.ts";
import { serveClient, type ClientOwner, type Route as HttpRoute, type ServedClient } from "../http/client.ts";
import { parseAuthority, parseRequestTarget } from "../http/target.ts";
import type { UpstreamError } from "../http/upstream.ts";
import type { IdleWatch } from "../http/watch.ts";
import { statusClasses, type Labels } from "../metrics.ts";
import { DialError, type Dial } from "./dial.ts";
import type { DestinationPools } from "./pool.ts";
import type { Route, RouteTable } from "./routes.ts";
import { tunnel } from "./tcp.ts";

export interface HttpProxyDeps extends Pick<DataPathDeps, "config" | "source" | "metrics" | "log"> {
  readonly dial: Dial;
  readonly routes: RouteTable;
  readonly pools: DestinationPools;
  readonly watch: IdleWatch;
}

export interface HttpProxy {
  readonly server: Server;
  /** Connections of the app end with the response under way. */
  retireAll(): void;
  cutAll(): void;
}

/**
 * Makes the forward proxy the app names in `http_proxy`: absolute-form requests, requests whose Host has a route, CONNECT and
 * WebSocket, each over mutual TLS to the identity its route names. What has no route is refused, never sent in plain text.
 */
export function httpProxy({ config, source, metrics, log, dial, routes, pools, watch }: HttpProxyDeps): HttpProxy {
  const clients = new Map<Socket, ServedClient | undefined>();
  const requests = metrics.counter("request_total", "HTTP requests", ["direction", "client_id", "server_id"]);
  const responses = metrics.counter("response_total", "HTTP responses, ours included", ["direction", "client_id", "server_id", "status_class"]);
  /** By server. */
  const known = new Map<string, Counted>();

  function countedAs(serverId: string): Counted {
    const clientId = source.identity()?.id.uri ?? "";
    const before = known.get(serverId);
    if (before?.request["client_id"] === clientId) return before;
    const request = { direction: "outbound", client_id: clientId, server_id: serverId };
    const counted = { request, responses: statusClasses(request) };
    known.set(serverId, counted);
    return counted;
  }

  function find(authority: string, fallbackPort: number): Route | Answer {
    const parsed = parseAuthority(authority);
    if (parsed === undefined) return noTarget;
    const port = parsed.port ?? fallbackPort;
    return routes.find(parsed.host, port) ?? noRoute(`${parsed.host}:${port}`);
  }

  const ownerOf = (socket: Socket): ClientOwner<ProxiedRoute> => ({
    route({ target, host }) {
      const parsed = parseRequestTarget(target);
      const route = parsed === undefined ? noTarget : find(parsed.authority ?? host ?? "", defaultPort);
      if (!("serverId" in route)) {
        requests.inc(countedAs("").request);
        return route;
      }
      const counted = countedAs(route.serverId.uri);
      requests.inc(counted.request);
      return { pool: pools.of(route), path: parsed!.path, host: parsed!.authority, addedLines: nothing, serverId: route.serverId.uri, counted };
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
    answered: (route, status) => responses.inc((route?.counted ?? countedAs("")).responses[Math.floor(status / 100)]),
    bug: (error) => log.error({ error }, "a request was broken off by a fault of this proxy; please report it"),
  });

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    clients.set(socket, undefined);
    socket.once("close", () => clients.delete(socket));
    const end = { socket, reset: () => void socket.resetAndDestroy() };
    clients.set(socket, serveClient(end, undefined, ownerOf(socket), config, watch));
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
  readonly counted: Counted;
}

interface Counted {
  readonly request: Labels;
  readonly responses: readonly Labels[];
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
