import type { Server } from "node:net";
import { trackConnections, type Connections } from "../connections.ts";
import type { DataPath, DataPathDeps } from "../data-path.ts";
import { idleWatch, watchIntervalMs } from "../http/watch.ts";
import { listen } from "../listen.ts";
import { peerVerifier } from "../peer.ts";
import { refusalReporter } from "../refusals.ts";
import { dialer } from "./dial.ts";
import { httpProxy } from "./http-proxy.ts";
import { destinationPools } from "./pool.ts";
import { tcpForwarder } from "./tcp.ts";

/** The outbound half, with a view of its live connections. */
export interface OutboundDataPath extends DataPath {
  readonly connections: Connections;
}

/**
 * Starts the outbound side: the HTTP forward proxy and the fixed TCP listeners, all leading to named identities over mutual TLS.
 * @throws {Error} of the system, with its code, when an address cannot be listened on
 */
export async function startOutbound({ config, source, metrics, log }: DataPathDeps): Promise<OutboundDataPath> {
  const now = Date.now;
  const verifier = peerVerifier({ source, now });
  const connections = trackConnections({ direction: "outbound", source, verifier, metrics, log, now, maxAgeMs: config.connectionMaxAgeMs });
  const refuse = refusalReporter({ direction: "outbound", metrics, log, now });
  const dial = dialer({ config, source, verifier, connections, refuse });
  const watch = idleWatch(watchIntervalMs(config.idleTimeoutMs));
  const pools = destinationPools(dial, source, watch);
  const http = httpProxy({ config, source, metrics, log, dial, pools, watch });
  const servers: Server[] = [];
  const addresses: string[] = [];

  function closeListeners(): void {
    http.retireAll();
    for (const server of servers) server.close();
  }

  function close(): void {
    closeListeners();
    http.cutAll();
    connections.cutAll();
    connections.stop();
    pools.close();
    watch.stop();
  }

  try {
    if (config.outbound !== undefined) {
      servers.push(http.server);
      addresses.push(await listen(http.server, config.outbound));
    }
    for (const listener of config.tcpListeners) {
      const server = tcpForwarder(listener, dial, config.idleTimeoutMs);
      servers.push(server);
      addresses.push(await listen(server, listener.listen));
    }
  } catch (error) {
    close();
    throw error;
  }
  for (const server of servers) {
    server.maxConnections = config.maxConnections;
    server.on("drop", () => refuse({
      reason: "too_many_connections", peer: "the app", message: `connection refused: ${config.maxConnections} of the app are open already; raise maxConnections if that is what you expect`,
    }));
  }

  return {
    addresses,
    connections,
    stopAccepting: closeListeners,
    drained(timeoutMs) {
      connections.retireAll();
      return connections.drained(timeoutMs);
    },
    close,
  };
}
