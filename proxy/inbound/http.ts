import { Agent, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { formatSocketAddress } from "../address.ts";
import type { DataPathDeps } from "../data-path.ts";
import { answer, forwardRequest, type Answer, type ForwardOwner, type Upstream } from "../http-forward.ts";
import { clientIdHeader } from "../http-headers.ts";
import { httpServer, watchSlowHeads, writeRawAnswer } from "../http-server.ts";
import { parseRequestTarget } from "../http-target.ts";
import { forwardUpgrade } from "../http-upgrade.ts";
import type { AcceptedPeer } from "./accept.ts";

export interface InboundHttp {
  /** Serves HTTP/1.1 on a verified connection from now on. */
  serve(accepted: AcceptedPeer): void;
  close(): void;
}

export interface InboundHttpDeps extends Pick<DataPathDeps, "config" | "metrics" | "log"> {
  readonly appFailed: (error: Error) => void;
}

/** Makes the HTTP half of the inbound side: every request reaches the app with the identity of the peer in one header. */
export function inboundHttp({ config, metrics, log, appFailed }: InboundHttpDeps): InboundHttp {
  const clients = new WeakMap<Socket, HttpClient>();
  const agent = new Agent({ keepAlive: true, maxFreeSockets: maxIdleAppConnections, timeout: appIdleTimeoutMs });
  const requests = metrics.counter("request_total", "HTTP requests", ["direction", "client_id", "server_id"]);
  const responses = metrics.counter("response_total", "HTTP responses, ours included", ["direction", "client_id", "server_id", "status_class"]);
  const connect = { host: config.app.host, port: config.app.port };

  /** Only `serve` hands connections to the server, so what is not known here is our own bug. */
  function clientOf({ socket }: IncomingMessage): HttpClient {
    const client = clients.get(socket);
    if (client === undefined) throw new Error("a request came over a connection whose peer was never verified");
    return client;
  }

  const owner: ForwardOwner = {
    failed(_request, error) {
      appFailed(error);
      return appUnreachable(formatSocketAddress(config.app), error);
    },
    answered: (request, status) => responses.inc({ ...clientOf(request).labels, status_class: `${Math.floor(status / 100)}xx` }),
    breakOff: (request) => clientOf(request).accepted.reset(),
    closing: (request) => clientOf(request).retired,
    bug: (request, error) => log.error({ error, peer: clientOf(request).accepted.peer.svid.id.uri }, "a request was broken off by a fault of this proxy; please report it"),
  };

  function upstreamOf(request: IncomingMessage): Upstream | Answer {
    const target = parseRequestTarget(request.url ?? "");
    if (target === undefined) return { status: 400, text: "countersign-proxy: 400: the request target is neither a path nor an http URL" };
    const setHeaders = [clientIdHeader, clientOf(request).accepted.peer.svid.id.uri];
    if (target.authority !== undefined) setHeaders.push("host", target.authority);
    return { agent, connect, path: target.path, setHeaders };
  }

  const server = httpServer({
    idleTimeoutMs: config.idleTimeoutMs,
    onRequest(request: IncomingMessage, response: ServerResponse) {
      const client = clientOf(request);
      client.last = response;
      requests.inc(client.labels);
      const upstream = upstreamOf(request);
      if ("status" in upstream) answer(response, upstream, owner);
      else forwardRequest(request, response, upstream, owner);
    },
    onUpgrade(request, socket, head) {
      const { accepted, labels } = clientOf(request);
      requests.inc(labels);
      const upstream = upstreamOf(request);
      if ("status" in upstream) return writeRawAnswer(socket, upstream);
      forwardUpgrade({
        request, head, upstream, owner, client: { socket, reset: accepted.reset }, idleTimeoutMs: config.idleTimeoutMs,
        resetUpstream: (app) => void app.resetAndDestroy(),
      });
    },
    onConnect(_request, socket) {
      writeRawAnswer(socket, { status: 405, text: "countersign-proxy: 405: CONNECT leads out of a proxy; this is the inbound side of one" });
    },
  });
  watchSlowHeads(server);

  return {
    serve(accepted) {
      const client: HttpClient = {
        accepted, retired: false, last: undefined,
        labels: { direction: "inbound", client_id: accepted.peer.svid.id.uri, server_id: accepted.localId },
      };
      clients.set(accepted.socket, client);
      accepted.retire = () => {
        client.retired = true;
        if (client.last === undefined || client.last.writableFinished) accepted.socket.destroySoon();
      };
      server.emit("connection", accepted.socket);
    },
    close() {
      server.close();
      agent.destroy();
    },
  };
}

interface HttpClient {
  readonly accepted: AcceptedPeer;
  readonly labels: { readonly direction: "inbound"; readonly client_id: string; readonly server_id: string };
  /** The response under way or the one before. */
  last: ServerResponse | undefined;
  retired: boolean;
}

function appUnreachable(app: string, error: NodeJS.ErrnoException): Answer {
  const what = error.code === "ECONNREFUSED" ? "nothing listens there; start the app, or correct --app" : `the connection failed (${error.code ?? error.message})`;
  return { status: 502, text: `countersign-proxy: 502: the app behind this proxy, ${app}, gave no answer: ${what}` };
}

/** Enough for a burst; each is a descriptor here and a connection in the app. */
const maxIdleAppConnections = 256;
/** Below the 5 s after which a Node app closes an idle connection, as Linkerd's pool is. */
const appIdleTimeoutMs = 3000;
