import { formatSocketAddress, type SocketAddress } from "../address.ts";
import type { Route } from "../config.ts";

/** Finds where a host leads. */
export interface RouteTable {
  /** The route for exactly this port if there is one, else the one for any port. */
  find(host: string, port: number): Route | undefined;
  /** The route that leads to exactly this address. */
  leadingTo(address: SocketAddress): Route | undefined;
}

/** Compiles the routes; the first of two for the same host and port counts. */
export function routeTable(routes: readonly Route[]): RouteTable {
  const byHost = new Map<string, Route>();
  const byAddress = new Map<string, Route>();
  for (const route of routes) {
    const address = formatSocketAddress(route.address);
    if (!byAddress.has(address)) byAddress.set(address, route);
    const key = keyOf(route.host, route.port);
    if (!byHost.has(key)) byHost.set(key, route);
  }
  return {
    find: (host, port) => byHost.get(keyOf(host, port)) ?? byHost.get(keyOf(host, undefined)),
    leadingTo: (address) => byAddress.get(formatSocketAddress(address)),
  };
}

function keyOf(host: string, port: number | undefined): string {
  return port === undefined ? host : `${host} ${port}`;
}
