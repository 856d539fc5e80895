import type { Route } from "../config.ts";

/** Finds where a host leads. */
export interface RouteTable {
  /** The route for exactly this port if there is one, else the one for any port. */
  find(host: string, port: number): Route | undefined;
}

/** Compiles the routes; the first of two for the same host and port counts. */
export function routeTable(routes: readonly Route[]): RouteTable {
  const byHost = new Map<string, Route>();
  for (const route of routes) {
    const key = keyOf(route.host, route.port);
    if (!byHost.has(key)) byHost.set(key, route);
  }
  return { find: (host, port) => byHost.get(keyOf(host, port)) ?? byHost.get(keyOf(host, undefined)) };
}

function keyOf(host: string, port: number | undefined): string {
  return port === undefined ? host : `${host} ${port}`;
}
