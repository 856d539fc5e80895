import { formatSocketAddress, type SocketAddress } from "../address.ts";
import { trackConnections, type Connections } from "../connections.ts";
import type { DataPath, DataPathDeps } from "../data-path.ts";
import { listen } from "../listen.ts";
import { peerVerifier } from "../peer.ts";
import { authorizeEveryRequest, type AuthorizeRequest } from "../policy.ts";
import { refusalReporter } from "../refusals.ts";
import { acceptPeers, type AcceptedPeer } from "./accept.ts";
import { inboundHttp } from "./http.ts";
import { sniffProtocol } from "./sniff.ts";
import { joinApp, joinOpenApp } from "./tcp.ts";

/** The inbound half, with a view of its live connections. */
export interface InboundDataPath extends DataPath {
  readonly connections: Connections;
}

/**
 * Starts the inbound side: mutual TLS in, plain bytes or HTTP to the local app.
 * @param authorize decides about each request of HTTP
 * @throws {Error} of the system, with its code, when the address cannot be listened on
 */
export async function startInbound(
  { config, source, metrics, log }: DataPathDeps, authorize: AuthorizeRequest = authorizeEveryRequest,
): Promise<InboundDataPath> {
  const now = Date.now;
  const verifier = peerVerifier({ source, now });
  const connections = trackConnections({ direction: "inbound", source, verifier, metrics, log, now, maxAgeMs: config.connectionMaxAgeMs });
  const refuse = refusalReporter({ direction: "inbound", metrics, log, now });
  function appFailed(address: SocketAddress, error: Error): void {
    const app = formatSocketAddress(address);
    refuse({ reason: "app_unreachable", peer: app, message: `the app at ${app} cannot be reached: ${error.message}` });
  }
  const http = inboundHttp({ config, metrics, log, authorize, appFailed });

  function serveHttp(accepted: AcceptedPeer, head: Buffer | undefined): void {
    accepted.connection.speaks("http");
    http.serve(accepted, head);
  }

  function onPeer(accepted: AcceptedPeer): void {
    const failed = (error: Error): void => appFailed(accepted.app, error);
    if (config.inboundProtocol === "http") return serveHttp(accepted, undefined);
    if (config.inboundProtocol === "tcp") {
      accepted.connection.speaks("tcp");
      return joinApp(accepted, undefined, config, failed);
    }
    sniffProtocol(accepted, config, {
      http: (head) => serveHttp(accepted, head),
      tcp(head, openApp) {
        accepted.connection.speaks("tcp");
        if (openApp === undefined) joinApp(accepted, head, config, failed);
        else joinOpenApp(accepted, openApp, head, config);
      },
      appFailed: failed,
      refused: (reason, message) => refuse({ reason, peer: accepted.peer.svid.id.uri, message }),
    });
  }

  const server = acceptPeers({ config, source, log, verifier, connections, refuse, onPeer });
  const addresses = config.inbound === undefined ? [] : [await listen(server, config.inbound)];
  return {
    addresses,
    connections,
    stopAccepting: () => void server.close(),
    drained(timeoutMs) {
      connections.retireAll();
      return connections.drained(timeoutMs);
    },
    close() {
      server.close();
      connections.cutAll();
      connections.stop();
      http.close();
    },
  };
}
