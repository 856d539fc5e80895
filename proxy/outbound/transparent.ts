import { connect, type Server, type Socket } from "node:net";
import { formatSocketAddress, remoteOf, type SocketAddress } from "../address.ts";
import type { Connections } from "../connections.ts";
import type { DataPathDeps } from "../data-path.ts";
import type { OriginalDestination } from "../intercept/original-destination.ts";
import { keepAlive } from "../keep-alive.ts";
import { lendingServer } from "../lent.ts";
import { opaqueProtocol } from "../opaque.ts";
import { joinSockets } from "../pipe.ts";
import type { Refusal } from "../refusals.ts";
import type { Dial } from "./dial.ts";
import type { Route, RouteTable } from "./routes.ts";
import { tunnel } from "./tcp.ts";

export interface TransparentDeps extends Pick<DataPathDeps, "config" | "source" | "metrics"> {
  readonly connections: Connections;
  readonly dial: Dial;
  readonly routes: RouteTable;
  readonly originalDestination: OriginalDestination;
  readonly refuse: (refusal: Refusal) => void;
}

/**
 * Makes a listener for what the kernel redirects, so that an app needs no setting; it does not listen yet. Every connection is carried as it is,
 * whatever it speaks and whoever speaks first: the proxy at the other end finds out. Where no route names who must answer, it is
 * refused, or let through unsecured if the operator said so.
 */
export function transparentListener({ config, source, metrics, connections, dial, routes, originalDestination, refuse }: TransparentDeps): Server {
  const passedThrough = metrics.counter("outbound_passthrough_total", "Redirected connections that went on in plain text, as no route names who must answer");

  function turnAway(app: Socket, reason: string, peer: string, message: string): void {
    refuse({ reason, peer, message });
    app.resetAndDestroy();
  }

  const routeTo = (to: SocketAddress): Route | undefined => routes.find(to.host, to.port) ?? routes.leadingTo(to);

  function passThrough(app: Socket, to: SocketAddress): void {
    if (connections.count() >= config.maxConnections) {
      return turnAway(app, "too_many_connections", formatSocketAddress(to), `connection refused: ${config.maxConnections} outbound connections are open already; raise maxConnections if that is what you expect`);
    }
    passedThrough.inc();
    const reset = (): void => void app.resetAndDestroy();
    const connection = connections.add({
      peer: undefined, noTlsReason: "no_route", localId: source.identity()?.id.uri ?? "", localValidUntilMs: Infinity, cut: reset,
      isAllowed: () => routeTo(to) === undefined,
      // Read from the app is written to the server.
      traffic: () => ({ bytesRead: app.bytesWritten, bytesWritten: app.bytesRead }),
    });
    connection.speaks("tcp");
    app.once("close", () => connection.closed()).on("error", () => undefined);
    const server = connect({ ...to, noDelay: true, allowHalfOpen: true, ...keepAlive, timeout: config.connectTimeoutMs });
    server.once("error", reset).once("timeout", () => server.destroy(new Error("no answer in time")));
    server.once("connect", () => {
      server.setTimeout(0).off("error", reset).removeAllListeners("timeout");
      // Cut while we were connecting.
      if (app.destroyed) return void server.resetAndDestroy();
      app.once("data", (first: Buffer) => connection.speaks(opaqueProtocol(first)));
      joinSockets({ socket: app, lent: true, reset }, { socket: server, reset: () => void server.resetAndDestroy() }, config.idleTimeoutMs);
    });
  }

  function take(app: Socket): void {
    const to = originalDestination(app);
    if (to === undefined) {
      return turnAway(app, "not_redirected", remoteOf(app), "connection refused: it came straight to the transparent listener, which takes only what `countersign-proxy intercept` redirects");
    }
    const where = formatSocketAddress(to);
    const route = routeTo(to);
    if (route !== undefined) return tunnel(app, undefined, route, dial, config.idleTimeoutMs, () => void app.resetAndDestroy(), () => undefined);
    if (config.transparentDefault === "passthrough") return passThrough(app, to);
    turnAway(app, "no_route", where, `connection refused: no route names who must answer at ${where}; add --route '${where}=${where},SPIFFE-ID', or leave its port or address out of the interception`);
  }

  // Nothing is read before the server is verified: backpressure keeps the app's bytes with the app.
  return lendingServer(take);
}
