import type { Server } from "node:net";
import { networkInterfaces } from "node:os";
import type { SocketAddress } from "../address.ts";
import { trackConnections, type Connections } from "../connections.ts";
import type { DataPath, DataPathDeps } from "../data-path.ts";
import { idleWatch, watchIntervalMs } from "../http/watch.ts";
import { listen } from "../listen.ts";
import { peerVerifier } from "../peer.ts";
import { refusalReporter } from "../refusals.ts";
import { originalDestinations } from "../intercept/original-destination.ts";
import { dialer } from "./dial.ts";
import { httpProxy } from "./http-proxy.ts";
import { destinationPools } from "./pool.ts";
import { routesInForce } from "./routes.ts";
import { tcpForwarder } from "./tcp.ts";
import { transparentListener } from "./transparent.ts";

/** The outbound half, with a view of its live connections. */
export interface OutboundDataPath extends DataPath {
  readonly connections: Connections;
}

/**
 * Starts the outbound side: the HTTP forward proxy and the fixed TCP listeners, all leading to named identities over mutual TLS.
 * @throws {Error} of the system, with its code, when an address cannot be listened on
 */
export async function startOutbound({ config, source, metrics, exchanges, log }: DataPathDeps): Promise<OutboundDataPath> {
  const now = Date.now;
  const verifier = peerVerifier({ source, now });
  // Before the connections: when policy changes these ask for what is in force by then.
  const routes = routesInForce(config.routes, source, (gone) => pools.drop(gone));
  const connections = trackConnections({ direction: "outbound", source, verifier, metrics, log, now, maxAgeMs: config.connectionMaxAgeMs });
  const refuse = refusalReporter({ direction: "outbound", metrics, log, now });
  const dial = dialer({ config, source, verifier, connections, isInForce: routes.isInForce, refuse });
  const watch = idleWatch(watchIntervalMs(config.idleTimeoutMs));
  const pools = destinationPools(dial, source, watch);
  const http = httpProxy({ config, source, exchanges, log, dial, routes, pools, watch, refuse });
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
    routes.stop();
    pools.close();
    watch.stop();
  }

  try {
    if (config.outbound !== undefined) {
      servers.push(http.server);
      addresses.push(await listen(http.server, config.outbound));
    }
    if (config.transparent !== undefined) {
      const originalDestination = originalDestinations();
      for (const address of loopbacksOf(config.transparent)) {
        const server = transparentListener({ config, source, metrics, connections, dial, routes, originalDestination, refuse });
        servers.push(server);
        addresses.push(await listen(server, address));
      }
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

/** The kernel redirects IPv4 to one loopback address and IPv6 to the other: `localhost` is both, where there are both. */
function loopbacksOf({ host, port }: SocketAddress): readonly SocketAddress[] {
  if (host !== "localhost") return [{ host, port }];
  const hasIpv6 = Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === "::1"));
  return ["127.0.0.1", ...(hasIpv6 ? ["::1"] : [])].map((loopback) => ({ host: loopback, port }));
}
