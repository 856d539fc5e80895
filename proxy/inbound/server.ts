import { formatSocketAddress, type SocketAddress } from "../address.ts";
import { trackConnections, type Connections } from "../connections.ts";
import type { DataPath, DataPathDeps } from "../data-path.ts";
import { listen } from "../listen.ts";
import { peerVerifier } from "../peer.ts";
import { refusalReporter } from "../refusals.ts";
import { isOpaquePort, opaqueProtocol } from "../opaque.ts";
import type { PipeEnd } from "../pipe.ts";
import { acceptPeers, type AcceptedPeer } from "./accept.ts";
import { inboundAdmission } from "./admission.ts";
import { inboundHttp } from "./http.ts";
import { sniffProtocol } from "./sniff.ts";
import { joinApp, joinOpenApp } from "./tcp.ts";

/** The inbound half, with a view of its live connections. */
export interface InboundDataPath extends DataPath {
  readonly connections: Connections;
}

/**
 * Starts the inbound side: mutual TLS in, plain bytes or HTTP to the local app.
 * @throws {Error} of the system, with its code, when the address cannot be listened on
 */
export async function startInbound({ config, source, metrics, exchanges, log }: DataPathDeps): Promise<InboundDataPath> {
  const now = Date.now;
  const verifier = peerVerifier({ source, now });
  const connections = trackConnections({ direction: "inbound", source, verifier, metrics, log, now, maxAgeMs: config.connectionMaxAgeMs });
  const refuse = refusalReporter({ direction: "inbound", metrics, log, now });
  function appFailed(address: SocketAddress, error: Error): void {
    const app = formatSocketAddress(address);
    refuse({ reason: "app_unreachable", peer: app, message: `the app at ${app} cannot be reached: ${error.message}` });
  }
  const admit = inboundAdmission({ config, source, metrics, log, refuse, now });
  const http = inboundHttp({ config, exchanges, log, appFailed, refuse });

  function serveHttp(accepted: AcceptedPeer, head: Buffer | undefined): void {
    accepted.connection.speaks("http");
    http.serve(accepted, head);
  }

  function serveTcp(accepted: AcceptedPeer, head: Buffer | undefined, openApp: PipeEnd | undefined): void {
    const { connection, socket } = accepted;
    if (head !== undefined && head.length > 0) connection.speaks(opaqueProtocol(head));
    else {
      connection.speaks("tcp");
      socket.once("data", (first: Buffer) => connection.speaks(opaqueProtocol(first)));
    }
    if (!accepted.admission.opaque()) {
      openApp?.reset();
      return accepted.reset();
    }
    if (openApp !== undefined) joinOpenApp(accepted, openApp, head ?? nothing, config);
    else joinApp(accepted, head, config, (error) => appFailed(accepted.app, error));
  }

  function onPeer(accepted: AcceptedPeer): void {
    const failed = (error: Error): void => appFailed(accepted.app, error);
    if (config.inboundProtocol === "http") return serveHttp(accepted, undefined);
    if (isOpaquePort(config, accepted.app.port)) return serveTcp(accepted, undefined, undefined);
    sniffProtocol(accepted, config, {
      http: (head) => serveHttp(accepted, head),
      tcp: (head, openApp) => serveTcp(accepted, head, openApp),
      appFailed: failed,
      refused: (reason, message) => refuse({ reason, peer: accepted.peer?.svid.id.uri ?? "an unauthenticated client", message }),
    });
  }

  const server = acceptPeers({ config, source, log, verifier, connections, admit, refuse, onPeer });
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

const nothing = Buffer.alloc(0);
