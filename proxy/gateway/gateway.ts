import { connect, type Socket } from "node:net";
import { networkOf, plainAddress } from "../../ca/pki/ip-address.ts";
import { formatSocketAddress, type SocketAddress } from "../address.ts";
import { listen } from "../listen.ts";
import { lendingServer, lentReads } from "../lent.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { pacedByName } from "../paced.ts";
import { joinSockets } from "../pipe.ts";
import { readClientHello, unrecognizedName } from "./client-hello.ts";

export interface GatewaySettings {
  readonly listen: SocketAddress;
  /** Server name, or `*.` and what names end with -> where it is. The first that fits counts, whole names before endings. */
  readonly routes: ReadonlyMap<string, SocketAddress>;
  readonly maxConnections: number;
  readonly helloTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
}

/** A gateway in this process. */
export interface Gateway {
  /** `host:port`. */
  readonly address: string;
  readonly open: () => number;
  /** No new connections; resolves when the open ones have ended, or after so long. */
  drain(timeoutMs: number): Promise<void>;
  /** Cuts everything. */
  close(): void;
}

/**
 * Starts the way into a cluster: TLS connections go to the proxy that the name in their first message leads to, as they are. The
 * gateway has no key, no certificate and no identity: who calls whom is between the two ends, and nobody between them can read or change a byte.
 * @throws {Error} of the system, with its code, when the address cannot be listened on
 */
export async function startGateway(settings: GatewaySettings, { metrics, log, now = Date.now }: { readonly metrics: Metrics; readonly log: Log; readonly now?: () => number }): Promise<Gateway> {
  const { routes, maxConnections, helloTimeoutMs, connectTimeoutMs, idleTimeoutMs } = settings;
  const opened = metrics.counter("gateway_connections_total", "Connections passed on, by the route they took", ["route"]);
  const refused = metrics.counter("gateway_refused_total", "Connections turned away, by reason", ["reason"]);
  metrics.gaugeOf("gateway_open_connections", "Connections that are open", () => sockets.size);
  const say = pacedByName(now);
  const sockets = new Set<Socket>();
  /** Of each network, how many have not said yet where they want to go. */
  const waiting = new Map<string, number>();
  let told: (() => void) | undefined;

  function refuse(socket: Socket, from: string, reason: string, message: string): void {
    refused.inc({ reason });
    say(`${reason} ${networkOf(from)}`, (heldBack) => log.warn({ reason, from, ...(heldBack > 0 && { heldBack }) }, `connection refused: ${message}`));
    if (reason === "no_route") socket.end(unrecognizedName).destroySoon();
    else socket.resetAndDestroy();
  }

  function find(serverName: string): string | undefined {
    if (routes.has(serverName)) return serverName;
    for (let dot = serverName.indexOf("."); dot >= 0; dot = serverName.indexOf(".", dot + 1)) {
      const ending = `*${serverName.slice(dot)}`;
      if (routes.has(ending)) return ending;
    }
    return undefined;
  }

  /** Reads until it is known where the connection is to go. Nothing is connected before that. */
  function take(socket: Socket): void {
    const from = plainAddress(socket.remoteAddress ?? "");
    const share = networkOf(from);
    socket.on("error", () => undefined);
    const before = waiting.get(share) ?? 0;
    if (sockets.size >= maxConnections) return refuse(socket, from, "too_many_connections", `${maxConnections} are open already; raise --max-connections if that is what you expect`);
    if (before >= maxWaitingEach) return refuse(socket, from, "too_many_waiting", `${maxWaitingEach} connections of ${share} have not said yet where they want to go`);
    waiting.set(share, before + 1);
    sockets.add(socket);
    socket.once("close", () => {
      sockets.delete(socket);
      if (sockets.size === 0) told?.();
    });
    let head: Buffer = Buffer.alloc(0);
    const deadline = setTimeout(() => done("hello_timeout", `no whole ClientHello within ${helloTimeoutMs} ms`), helloTimeoutMs);

    function done(reason?: string, message = ""): void {
      clearTimeout(deadline);
      socket.off("data", onData).off("end", onEnd).off("close", onEnd).pause();
      const left = (waiting.get(share) ?? 1) - 1;
      if (left > 0) waiting.set(share, left);
      else waiting.delete(share);
      if (reason !== undefined) refuse(socket, from, reason, message);
    }

    function onData(chunk: Buffer): void {
      head = Buffer.concat([head, chunk]);
      const hello = readClientHello(head);
      if (hello.kind === "incomplete") return;
      if (hello.kind !== "whole") return done(hello.kind, faults[hello.kind]);
      const { serverName } = hello;
      if (serverName === undefined) return done("no_server_name", "it names no server (SNI); clients have to connect by a name");
      const route = find(serverName);
      if (route === undefined) return done("no_route", `nothing here is called ${serverName}; add --route ${serverName}=ADDRESS:PORT if something should be`);
      done();
      passOn(socket, from, head, route);
    }

    const onEnd = (): void => done("hello_abandoned", "it went away before it said where it wants to go");
    socket.on("data", onData).once("end", onEnd).once("close", onEnd);
  }

  function passOn(socket: Socket, from: string, head: Buffer, route: string): void {
    const to = routes.get(route)!;
    const server: Socket = connect({ ...to, noDelay: true, allowHalfOpen: true, timeout: connectTimeoutMs, onread: lentReads(() => server) });
    const failed = (error: Error): void => refuse(socket, from, "server_unreachable", `no connection to ${formatSocketAddress(to)} (${route}): ${error.message}`);
    const gone = (): void => void server.destroy();
    socket.once("close", gone);
    server.once("error", failed).once("timeout", () => server.destroy(new Error(`no answer within ${connectTimeoutMs} ms`)));
    server.once("connect", () => {
      server.setTimeout(0).off("error", failed).removeAllListeners("timeout");
      socket.off("close", gone);
      opened.inc({ route });
      server.write(head);
      joinSockets({ socket, lent: true, reset: () => void socket.resetAndDestroy() }, { socket: server, lent: true, reset: () => void server.resetAndDestroy() }, idleTimeoutMs);
    });
  }

  const server = lendingServer(take);
  const address = await listen(server, settings.listen);
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    address, open: () => sockets.size, close,
    async drain(timeoutMs) {
      server.close();
      if (sockets.size === 0) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        told = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      close();
    },
  };
}

const faults: Readonly<Record<"not_tls" | "malformed" | "too_long", string>> = {
  not_tls: "it does not begin with TLS; clients reach this gateway through their own proxies",
  malformed: "its ClientHello is malformed",
  too_long: "its ClientHello is longer than 16 KiB, or in more than 64 records",
};
/** Each holds a descriptor and up to 16 KiB until its deadline. */
const maxWaitingEach = 256;
