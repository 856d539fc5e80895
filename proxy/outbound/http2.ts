import type { Exchange, ExchangeEdge, Exchanges } from "../exchanges.ts";
import type { Answer } from "../http/answer.ts";
import type { IdleWatch } from "../http/watch.ts";
import { serveHttp2 } from "../http2/forward.ts";
import type { Http2Limits, Http2Owner, Http2Route, ServedHttp2 } from "../http2/owner.ts";
import { traceparentsIn, withTraceparentField } from "../http2/traced.ts";
import type { PipeEnd } from "../pipe.ts";
import type { Refusal } from "../refusals.ts";
import type { Dial } from "./dial.ts";
import type { Route } from "./routes.ts";

/** What HTTP/2 shares with HTTP/1 on the outbound side. */
export interface OutboundHttp2Deps {
  readonly limits: Http2Limits;
  readonly watch: IdleWatch;
  readonly exchanges: Exchanges;
  /** @param serverId empty: nobody was asked */
  readonly edgeTo: (serverId: string) => ExchangeEdge;
  /** Where an authority leads, or what the app is told if nowhere. */
  readonly find: (authority: string) => Route | Answer;
  readonly failed: (serverId: string, error: Error) => Answer;
  readonly dial: Dial;
  readonly refuse: (refusal: Refusal) => void;
  readonly bug: (error: unknown) => void;
}

/**
 * Serves HTTP/2 that an app speaks to the forward proxy by prior knowledge: the authority of the first request names the route, and
 * its server has the whole connection. What asks for another is 421, and goes over a connection of its own.
 * @param first bytes already read
 */
export function serveOutboundHttp2(client: PipeEnd, first: Buffer, { limits, watch, exchanges, edgeTo, find, failed, dial, refuse, bug }: OutboundHttp2Deps): ServedHttp2 {
  let destination: Route | undefined;

  function where(method: string, authority: string): Route | Answer {
    if (method === "CONNECT") return noConnect;
    const found = find(authority);
    if ("status" in found || destination === undefined || found === destination) return found;
    // The service has changed: this connection ends, and the next one leads where it is now.
    if (found.serverId.uri === destination.serverId.uri) served.retire();
    return misdirected;
  }

  const owner: Http2Owner<OutboundRoute> = {
    route({ method, path, fields, authority = "" }) {
      const found = where(method, authority);
      const isRefused = "status" in found;
      const serverId = isRefused ? "" : found.serverId.uri;
      const exchange = exchanges.begin(edgeTo(serverId), method, path, () => traceparentsIn(fields));
      if (isRefused) return { added: [], exchange, serverId, refusal: found };
      destination = found;
      return { added: withTraceparentField([], exchange), exchange, serverId };
    },
    open: () => dial(destination!, { allowHalfOpen: false, retire: () => served.retire() }).then((server) => {
      server.connection.speaks("http2");
      return server;
    }),
    recheck: () => undefined,
    failed: ({ serverId }, error) => failed(serverId, error as Error),
    answered: (route, status) => (route === undefined ? exchanges.rejected(edgeTo(""), status) : exchanges.answered(route.exchange, status)),
    ended: ({ exchange }, whole) => exchanges.ended(exchange, whole),
    refused: ({ code, message }) => refuse({ reason: `http2_${code}`, peer: "the app", message: `connection closed: the app broke a rule of HTTP/2 (${code}): ${message}` }),
    bug,
  };
  const served = serveHttp2(client, first, owner, limits, watch);
  return served;
}

interface OutboundRoute extends Http2Route {
  readonly exchange: Exchange;
  readonly serverId: string;
}

const noConnect: Answer = { status: 405, text: "countersign-proxy: 405: open tunnels with CONNECT of HTTP/1.1" };
const misdirected: Answer = { status: 421, text: "countersign-proxy: 421: this connection leads to another server; open one for each" };
