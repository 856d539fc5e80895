import type { Exchange, ExchangeEdge, Exchanges } from "../exchanges.ts";
import type { Answer } from "../http/answer.ts";
import { clientIdHeader } from "../http/fields.ts";
import type { IdleWatch } from "../http/watch.ts";
import type { FieldText } from "../http2/hpack-encoder.ts";
import { traceparentsIn, withTraceparentField } from "../http2/traced.ts";
import { serveHttp2 } from "../http2/forward.ts";
import type { Http2Owner, Http2Route } from "../http2/owner.ts";
import type { AcceptedPeer } from "./accept.ts";
import type { Denial } from "./admission.ts";
import { connectApp, type AppSettings } from "./tcp.ts";

/** What HTTP/2 shares with HTTP/1 on the inbound side. */
export interface InboundHttp2Deps {
  readonly settings: AppSettings;
  readonly watch: IdleWatch;
  readonly exchanges: Exchanges;
  readonly edge: ExchangeEdge;
  /** The app cannot be reached: told, and what the client is told. */
  readonly appFailed: (error: Error) => Answer;
  readonly refused: (reason: string, message: string) => void;
  readonly bug: (error: unknown) => void;
}

/**
 * Serves HTTP/2 on a verified connection from now on: every request reaches the app with the identity of the peer in one header.
 * @param first bytes already read
 */
export function serveInboundHttp2(accepted: AcceptedPeer, first: Buffer, deps: InboundHttp2Deps): void {
  const { admission, app, peer } = accepted;
  const id = peer?.svid.id.uri;
  const identityFields: readonly FieldText[] = id === undefined ? [] : [{ name: clientIdHeader, value: id, sensitive: true }];
  const { exchanges, edge } = deps;
  const owner: Http2Owner<InboundRoute> = {
    route({ method, path, fields }) {
      const exchange = exchanges.begin(edge, method, path, () => traceparentsIn(fields));
      const added = withTraceparentField(identityFields, exchange);
      if (method === "CONNECT") return { added, exchange, refusal: noConnect };
      const denial = admission.request(method, path);
      return { added, exchange, ...(denial !== undefined && { refusal: denied(denial) }) };
    },
    // What went wrong is told by the socket.
    open: () => connectApp(app, deps.settings, () => undefined, true),
    recheck: ({ exchange: { method, target } }) => (admission.mayGoOn(method, target) ? undefined : noLonger),
    failed: (_route, error) => deps.appFailed(error as Error),
    answered: (route, status) => (route === undefined ? exchanges.rejected(edge, status) : exchanges.answered(route.exchange, status)),
    ended: ({ exchange }, whole) => exchanges.ended(exchange, whole),
    refused: ({ code, message }) => deps.refused(`http2_${code}`, `connection closed: the client broke a rule of HTTP/2 (${code}): ${message}`),
    bug: deps.bug,
  };
  const served = serveHttp2(accepted, first, owner, deps.settings, deps.watch);
  accepted.retire = served.retire;
  accepted.isAllowed = () => {
    if (!admission.mayConnect()) return false;
    served.recheck();
    return true;
  };
}

interface InboundRoute extends Http2Route {
  readonly exchange: Exchange;
}

function denied({ message }: Denial): Answer {
  return { status: 403, text: `countersign-proxy: 403: ${message}` };
}

const noConnect: Answer = { status: 405, text: "countersign-proxy: 405: CONNECT leads out of a proxy; this is the inbound side of one" };
const noLonger: Answer = { status: 403, text: "countersign-proxy: 403: policy changed while this was under way, and does not allow it any more" };
