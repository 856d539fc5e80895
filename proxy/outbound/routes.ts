import { formatSocketAddress, type SocketAddress } from "../address.ts";
import type { Service } from "../../ca/contract/services.ts";
import { parseSpiffeId } from "../../ca/pki/spiffe-id.ts";
import type { Route as ConfiguredRoute } from "../config/config.ts";
import type { IdentitySource } from "../identity/source.ts";
import type { Destination } from "./dial.ts";

/** Where a host leads: set on this host, or a service that the CA tells. */
export type Route = ConfiguredRoute & Destination;

/** Finds where a host leads. */
export interface RouteTable {
  /** The route for exactly this port if there is one, else the one for any port. */
  find(host: string, port: number): Route | undefined;
  /** The route that leads to exactly this address. */
  leadingTo(address: SocketAddress): Route | undefined;
}

/** Compiles the routes; the first of two for the same host and port counts. */
export function routeTable(routes: readonly Route[]): RouteTable {
  /** By port within; undefined: any. */
  const byHost = new Map<string, Map<number | undefined, Route>>();
  const byAddress = new Map<string, Route>();
  for (const route of routes) {
    const address = formatSocketAddress(route.address);
    if (!byAddress.has(address)) byAddress.set(address, route);
    const byPort = byHost.get(route.host) ?? new Map<number | undefined, Route>();
    byHost.set(route.host, byPort);
    if (!byPort.has(route.port)) byPort.set(route.port, route);
  }
  return {
    find(host, port) {
      const byPort = byHost.get(host);
      return byPort?.get(port) ?? byPort?.get(undefined);
    },
    leadingTo: (address) => byAddress.get(formatSocketAddress(address)),
  };
}

/**
 * The routes of this host, and behind them the services that the CA tells, as they are in force. A service that does not change
 * stays the same object, whatever else changes.
 * @param dropped  told of services that are no more, or are others now
 */
export function routesInForce(routes: readonly Route[], source: Pick<IdentitySource, "policy" | "onChange">, dropped: (gone: readonly Route[]) => void): RoutesInForce {
  const own = routeTable(routes);
  let services = new Map<string, Route>();
  let told: RouteTable;
  /** Of each service that was ever told: which name it was for, and who had to answer. */
  const names = new WeakMap<Destination, string>();
  let named: ReadonlySet<string> = new Set();
  let byHostAddress: ReadonlyMap<string, Route> = new Map();

  function read(): void {
    const before = services;
    services = new Map((source.policy()?.services ?? []).map((service) => {
      const key = JSON.stringify(service);
      return [key, before.get(key) ?? routeTo(service)] as const;
    }));
    const now = [...services.values()];
    told = routeTable(now);
    for (const route of now) names.set(route, `${keyOf(route.host, route.port)}=${route.serverId.uri}`);
    named = new Set(now.map((route) => names.get(route)!));
    byHostAddress = new Map(now.flatMap((route) => (
      route.port === undefined ? [] : (route.addresses ?? []).map(({ host }) => [keyOf(host, route.port), route] as const)
    )).reverse());
    const gone = [...before].filter(([key]) => !services.has(key)).map(([, route]) => route);
    if (gone.length > 0) dropped(gone);
  }

  read();
  const stop = source.onChange((what) => { if (what === "policy") read(); });
  return {
    find: (host, port) => own.find(host, port) ?? told.find(host, port),
    // An app that looked the name up connects to the port of the service, not to that of the proxy before it.
    leadingTo: (address) => own.leadingTo(address) ?? told.leadingTo(address) ?? byHostAddress.get(keyOf(address.host, address.port)),
    isInForce(destination) {
      const name = names.get(destination);
      return name === undefined || named.has(name);
    },
    stop,
  };
}

/** Ends with `stop`. */
export interface RoutesInForce extends RouteTable {
  /** Whether its server still is who must answer there: always where this host says so; of a service, whatever its addresses are by now. */
  isInForce(destination: Destination): boolean;
  stop(): void;
}

function routeTo({ name, port, spiffeId, addresses }: Service): Route {
  const weighted = (addresses ?? [{ host: name, port: defaultProxyPort }]).map(({ host, port: at, weight = 1 }) => ({ host, port: at, weight }));
  return { host: name, port, serverId: parseSpiffeId(spiffeId), address: weighted[0]!, addresses: weighted };
}

function keyOf(host: string, port: number | undefined): string {
  return port === undefined ? host : `${host} ${port}`;
}

/** Where DNS says the host, its proxy listens where proxies do. */
const defaultProxyPort = 4143;
