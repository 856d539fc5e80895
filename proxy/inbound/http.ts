import { formatSocketAddress, type SocketAddress } from "../address.ts";
import type { DataPathDeps } from "../data-path.ts";
import type { Exchange, ExchangeEnds } from "../exchanges.ts";
import type { Answer } from "../http/answer.ts";
import { serveClient } from "../http/client.ts";
import type { ClientOwner, Route } from "../http/owner.ts";
import { clientIdHeader } from "../http/fields.ts";
import { traceparentsOf, withTraceparent } from "../http/traced.ts";
import { upstreamPool, type UpstreamPool } from "../http/pool.ts";
import { parseRequestTarget } from "../http/target.ts";
import { upstreamConnection, type Upstream, type UpstreamKeeper } from "../http/upstream.ts";
import { idleWatch, watchIntervalMs } from "../http/watch.ts";
import type { Refusal } from "../refusals.ts";
import type { AcceptedPeer } from "./accept.ts";
import type { Denial } from "./admission.ts";
import { serveInboundHttp2 } from "./http2.ts";
import { connectApp } from "./tcp.ts";

export interface InboundHttp {
  /** Serves HTTP/1.1 or HTTP/2 on a verified connection from now on. @param head bytes already read */
  serve(accepted: AcceptedPeer, head: Buffer | undefined): void;
  close(): void;
}

export interface InboundHttpDeps extends Pick<DataPathDeps, "config" | "exchanges" | "log"> {
  readonly appFailed: (app: SocketAddress, error: Error) => void;
  readonly refuse: (refusal: Refusal) => void;
}

/** Makes the HTTP half of the inbound side: every request reaches the app with the identity of the peer in one header. */
export function inboundHttp({ config, exchanges, log, appFailed, refuse }: InboundHttpDeps): InboundHttp {
  const watch = idleWatch(watchIntervalMs(config.idleTimeoutMs));
  /** By the app's address: more than one where connections are redirected to us. */
  const pools = new Map<string, UpstreamPool>();

  function serveHttp2(accepted: AcceptedPeer, first: Buffer): void {
    const { peer, app } = accepted;
    const clientId = peer?.svid.id.uri;
    accepted.connection.speaks("http2");
    serveInboundHttp2(accepted, first, {
      settings: config, watch, exchanges, edge: exchanges.edge(endsOf(accepted, "http2")),
      appFailed(error) {
        appFailed(app, error);
        return appUnreachable(formatSocketAddress(app), error);
      },
      refused: (reason, message) => refuse({ reason, peer: clientId ?? "an unauthenticated client", message }),
      bug: (error) => bug(error, clientId),
    });
  }

  function bug(error: unknown, peer: string | undefined): void {
    log.error({ error, peer }, "a request was broken off by a fault of this proxy; please report it");
  }

  function poolFor({ app, socket }: AcceptedPeer): UpstreamPool {
    const name = formatSocketAddress(app);
    const before = pools.get(name);
    if (before !== undefined) return before;
    const pool = upstreamPool({ open: (keeper) => openApp(app, keeper), maxIdle: maxIdleAppConnections, idleMs: appIdleTimeoutMs, watch });
    if (pools.size < maxApps) pools.set(name, pool);
    else socket.once("close", () => pool.close());
    return pool;
  }

  function openApp(app: SocketAddress, keeper: UpstreamKeeper): Upstream {
    // What went wrong is told by the upstream itself.
    return upstreamConnection(connectApp(app, config, () => undefined, true), keeper);
  }

  function ownerOf(accepted: AcceptedPeer): ClientOwner<Route> {
    const { peer } = accepted;
    const id = peer?.svid.id;
    const app = formatSocketAddress(accepted.app);
    const pool = poolFor(accepted);
    const edge = exchanges.edge(endsOf(accepted, "http"));
    let exchange: Exchange | undefined;
    const addedLines = Buffer.from(id === undefined ? "" : `${clientIdHeader}: ${id.uri}\r\n`);
    return {
      route(head) {
        const { method, target, host } = head;
        const parsed = target.charCodeAt(0) === slash ? { path: target, authority: undefined } : parseRequestTarget(target);
        exchange = exchanges.begin(edge, method, parsed?.path ?? "", () => traceparentsOf(head));
        if (parsed === undefined) return noTarget;
        const { path, authority } = parsed;
        const denial = accepted.admission.request(method, path);
        if (denial !== undefined) return denied(denial);
        // HTTP/1.0 may name no host, HTTP/1.1 has to.
        return { pool, path, host: authority ?? (host === undefined ? app : undefined), addedLines: withTraceparent(addedLines, exchange) };
      },
      connect: () => noConnect,
      failed(_route, error) {
        appFailed(accepted.app, error as Error);
        return appUnreachable(app, error as NodeJS.ErrnoException);
      },
      answered: (_route, status) => exchange === undefined ? exchanges.rejected(edge, status) : exchanges.answered(exchange, status),
      ended(whole) {
        if (exchange !== undefined) exchanges.ended(exchange, whole);
        exchange = undefined;
      },
      bug: (error) => bug(error, id?.uri),
      http2: (first) => serveHttp2(accepted, first),
    };
  }

  return {
    serve(accepted, head) {
      const served = serveClient(accepted, head, ownerOf(accepted), config, watch);
      accepted.retire ??= served.retire;
    },
    close() {
      for (const pool of pools.values()) pool.close();
      watch.stop();
    },
  };
}

function endsOf({ peer, localId }: AcceptedPeer, protocol: ExchangeEnds["protocol"]): ExchangeEnds {
  const isSecured = peer !== undefined;
  return { direction: "inbound", clientId: peer?.svid.id.uri ?? "", serverId: localId, tls: isSecured, ...(!isSecured && { noTlsReason: "plain_text" }), protocol };
}

function appUnreachable(app: string, error: NodeJS.ErrnoException): Answer {
  const what = error.code === "ECONNREFUSED" ? "nothing listens there; start the app, or correct --app" : `the connection failed (${error.code ?? error.message})`;
  return { status: 502, text: `countersign-proxy: 502: the app behind this proxy, ${app}, gave no answer: ${what}` };
}

function denied({ message }: Denial): Answer {
  return { status: 403, text: `countersign-proxy: 403: ${message}` };
}

const slash = 47;
const noTarget: Answer = { status: 400, text: "countersign-proxy: 400: the request target is neither a path nor an http URL" };
const noConnect: Answer = { status: 405, text: "countersign-proxy: 405: CONNECT leads out of a proxy; this is the inbound side of one" };
/** Enough for a burst; each is a descriptor here and a connection in the app. */
const maxIdleAppConnections = 256;
/** Below the 5 s after which a Node app closes an idle connection, as Linkerd's pool is. */
const appIdleTimeoutMs = 3000;
/** More ports of one host than these have connections of the app for each connection of a peer. */
const maxApps = 64;
