import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Route } from "../config.ts";
import type { DataPathDeps } from "../data-path.ts";
import { answer, forwardRequest, type Answer, type ForwardOwner, type Upstream } from "../http-forward.ts";
import { httpServer, writeRawAnswer } from "../http-server.ts";
import { parseAuthority, parseRequestTarget } from "../http-target.ts";
import { forwardUpgrade } from "../http-upgrade.ts";
import { DialError, type Dial } from "./dial.ts";
import type { Pool } from "./pool.ts";
import { routeTable } from "./routes.ts";
import { tunnel } from "./tcp.ts";

export interface HttpProxyDeps extends Pick<DataPathDeps, "config" | "source" | "metrics" | "log"> {
  readonly dial: Dial;
  readonly pool: Pool;
  /** True while draining: connections of the app end with their response. */
  readonly closing: () => boolean;
}

/**
 * Makes the forward proxy the app names in `http_proxy`: absolute-form requests, requests whose Host has a route, CONNECT and
 * WebSocket, each over mutual TLS to the identity its route names. What has no route is refused, never sent in plain text.
 */
export function httpProxy({ config, source, metrics, log, dial, pool, closing }: HttpProxyDeps): Server {
  const routes = routeTable(config.routes);
  const requests = metrics.counter("request_total", "HTTP requests", ["direction", "client_id", "server_id"]);
  const responses = metrics.counter("response_total", "HTTP responses, ours included", ["direction", "client_id", "server_id", "status_class"]);
  const routed = new WeakMap<IncomingMessage, Route>();

  const labelsOf = (request: IncomingMessage) => (
    { direction: "outbound", client_id: source.identity()?.id.uri ?? "", server_id: routed.get(request)?.serverId.uri ?? "" }
  );
  const owner: ForwardOwner = {
    failed: (request, error) => failure(routed.get(request), error),
    answered: (request, status) => responses.inc({ ...labelsOf(request), status_class: `${Math.floor(status / 100)}xx` }),
    breakOff: ({ socket }) => void socket.resetAndDestroy(),
    closing,
    bug: (request, error) => log.error({ error, peer: routed.get(request)?.serverId.uri }, "a request was broken off by a fault of this proxy; please report it"),
  };

  function upstreamOf(request: IncomingMessage): Upstream | Answer {
    const target = parseRequestTarget(request.url ?? "");
    if (target === undefined) return noTarget;
    const route = find(target.authority ?? request.headers.host ?? "", defaultPort);
    if (!("serverId" in route)) return route;
    routed.set(request, route);
    return { agent: pool.agent, connect: pool.connectTo(route), path: target.path, setHeaders: target.authority === undefined ? [] : ["host", target.authority] };
  }

  function find(authority: string, fallbackPort: number): Route | Answer {
    const parsed = parseAuthority(authority);
    if (parsed === undefined) return noTarget;
    const port = parsed.port ?? fallbackPort;
    return routes.find(parsed.host, port) ?? noRoute(`${parsed.host}:${port}`);
  }

  return httpServer({
    idleTimeoutMs: config.idleTimeoutMs,
    onRequest(request: IncomingMessage, response: ServerResponse) {
      const upstream = upstreamOf(request);
      requests.inc(labelsOf(request));
      if ("status" in upstream) answer(response, upstream, owner);
      else forwardRequest(request, response, upstream, owner);
    },
    onUpgrade(request, socket, head) {
      const upstream = upstreamOf(request);
      requests.inc(labelsOf(request));
      if ("status" in upstream) return writeRawAnswer(socket, upstream);
      forwardUpgrade({
        request, head, upstream, owner, client: { socket, reset: () => void socket.resetAndDestroy() }, idleTimeoutMs: config.idleTimeoutMs,
        resetUpstream: pool.reset,
      });
    },
    onConnect(request: IncomingMessage, socket: Socket, head: Buffer) {
      socket.on("error", () => undefined);
      const route = find(request.url ?? "", 0);
      if ("status" in route) return writeRawAnswer(socket, route);
      tunnel(socket, head, route, dial, config.idleTimeoutMs,
        (error) => writeRawAnswer(socket, failure(route, error)),
        () => socket.write("HTTP/1.1 200 Connection Established\r\n\r\n"));
    },
  });
}

function failure(route: Route | undefined, error: NodeJS.ErrnoException): Answer {
  const server = route?.serverId.uri ?? "the server";
  if (error instanceof DialError) {
    const status = error.code === "identity_unavailable" || error.code === "too_many_connections" ? 503 : error.code.endsWith("_timeout") ? 504 : 502;
    return { status, text: `countersign-proxy: ${status}: no connection to ${server}: ${error.message}` };
  }
  return {
    status: 502,
    text: `countersign-proxy: 502: ${server} closed the connection without an answer (${error.code ?? error.message}); if every request fails so, its proxy may not allow this identity: see its log`,
  };
}

function noRoute(hostAndPort: string): Answer {
  return {
    status: 403,
    text: `countersign-proxy: 403: no route for ${hostAndPort}; add --route HOST[:PORT]=ADDRESS:PORT,SPIFFE-ID to this proxy. Nothing is sent without mutual TLS`,
  };
}

const noTarget: Answer = {
  status: 400,
  text: "countersign-proxy: 400: name the server with http://host/path (an http_proxy client does) or a Host header; https is not taken apart, use http and leave TLS to the proxy",
};
const defaultPort = 80;
