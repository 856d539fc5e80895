import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type SecureContext, type TLSSocket } from "node:tls";
import { formatSocketAddress, type SocketAddress } from "../address.ts";
import type { SpiffeId } from "../../ca/pki/spiffe-id.ts";
import type { Connections, OpenConnection } from "../connections.ts";
import type { DataPathDeps } from "../data-path.ts";
import type { Identity } from "../identity/source.ts";
import { keepAlive } from "../keep-alive.ts";
import { lendTls } from "../lent.ts";
import { PeerError, type PeerErrorCode, type PeerVerifier } from "../peer.ts";
import type { PipeEnd } from "../pipe.ts";
import type { Refusal } from "../refusals.ts";
import { clientContexts } from "../tls-context.ts";
import { refuseCutEnd } from "../tls-end.ts";
import { addressOrder } from "./addresses.ts";

/** Where to connect, and who must answer there; there is no destination without a name. */
export interface Destination {
  readonly address: SocketAddress;
  readonly serverId: SpiffeId;
  /** The name it goes by, sent in the clear (SNI) where it is a DNS name: a gateway on the way routes by it. */
  readonly host?: string;
  /** Any of these, by weight, instead of `address`; those that fail are passed over for a while. */
  readonly addresses?: readonly WeightedAddress[];
}

export interface WeightedAddress extends SocketAddress {
  /** Above 0. */
  readonly weight: number;
}

/** A connection whose server is the one that was named. */
export interface DialedServer extends PipeEnd {
  readonly socket: TLSSocket;
  readonly identity: Identity;
  readonly connection: OpenConnection;
}

export type DialErrorCode =
  | PeerErrorCode
  | "route_withdrawn"
  | "identity_unavailable"
  | "too_many_connections"
  | "connect_failed"
  | "connect_timeout"
  | "handshake_failed"
  | "handshake_timeout";

/** No connection to the named server; nothing was sent to anybody. */
export class DialError extends Error {
  override readonly name = "DialError";
  readonly code: DialErrorCode;

  constructor(code: DialErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

export interface DialOptions {
  /** True: the server may go on sending after the app has finished, and the other way round. */
  readonly allowHalfOpen: boolean;
  /** Ends the connection between two requests, see `NewConnection.retire`. */
  readonly retire?: (socket: TLSSocket) => void;
}

export interface DialDeps extends Pick<DataPathDeps, "config" | "source"> {
  readonly verifier: PeerVerifier;
  readonly connections: Connections;
  /** Whether the destination still is to be had; asked again whenever policy changes. */
  readonly isInForce: (destination: Destination) => boolean;
  readonly refuse: (refusal: Refusal) => void;
}

export type Dial = (destination: Destination, options: DialOptions) => Promise<DialedServer>;

/**
 * Makes the one way out: TCP, TLS 1.3 with our identity, then the server must prove to be the identity that was named. There is
 * no plain text to fall back to.
 * @returns a function that rejects with {DialError}
 */
export function dialer({ config, source, verifier, connections, isInForce, refuse }: DialDeps): Dial {
  const contextOf = clientContexts(config.keyExchange);
  const order = addressOrder(Date.now, Math.random);
  let dialing = 0;

  async function dial(address: SocketAddress, destination: Destination, { allowHalfOpen, retire }: DialOptions): Promise<DialedServer> {
    const identity = source.identity();
    if (identity === undefined) {
      throw new DialError("identity_unavailable", "this proxy has no valid certificate, or does not know yet what is revoked; see /readyz and its log");
    }
    if (connections.count() + dialing >= config.maxConnections) {
      throw new DialError("too_many_connections", `${config.maxConnections} outbound connections are open already; raise maxConnections if that is what you expect`);
    }
    const where = formatSocketAddress(address);
    dialing += 1;
    const raw = connectTcp({ host: address.host, port: address.port, noDelay: true, allowHalfOpen, ...keepAlive });
    const reset = (): void => void raw.resetAndDestroy();
    try {
      await opened(raw, where, config.connectTimeoutMs);
      const socket = await secured(raw, contextOf(identity), where, nameOf(destination), config.handshakeTimeoutMs);
      const peer = verifier.verify(socket, "server", destination.serverId);
      if (!isInForce(destination)) throw new DialError("route_withdrawn", `${where}: the service was withdrawn, or another identity must answer now; try again`);
      const connection = connections.add({
        peer, localId: identity.id.uri, localValidUntilMs: identity.notAfterMs + 1000, traffic: () => socket, cut: reset,
        isAllowed: () => isInForce(destination), ...(retire === undefined ? { closeQuiet: () => void socket.end() } : { retire: () => retire(socket) }),
      });
      connection.speaks(retire === undefined ? "tcp" : "http");
      socket.once("close", () => connection.closed());
      refuseCutEnd(socket, raw, reset);
      return { socket, lent: lendTls(socket), identity, connection, reset };
    } catch (cause) {
      reset();
      if (cause instanceof PeerError) throw new DialError(cause.code, `${where}: ${cause.message}`, { cause });
      throw cause;
    } finally {
      dialing -= 1;
    }
  }

  return async (destination, options) => {
    const { address, addresses = [{ ...address, weight: 1 }], serverId } = destination;
    let last: unknown;
    for (const candidate of order.of(addresses)) {
      try {
        return await dial(candidate, destination, options);
      } catch (error) {
        last = error;
        if (!(error instanceof DialError)) throw error;
        refuse({ reason: error.code, peer: serverId.uri, message: `no connection to ${serverId.uri}: ${error.message}` });
        // It is we who cannot, or may not, wherever it goes.
        if (error.code === "identity_unavailable" || error.code === "too_many_connections" || error.code === "route_withdrawn") throw error;
        order.failed(candidate);
      }
    }
    throw last;
  };
}

function opened(raw: Socket, where: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const deadline = setTimeout(() => reject(new DialError("connect_timeout", `no answer from ${where} within ${timeoutMs} ms`)), timeoutMs);
    raw.on("error", (cause: NodeJS.ErrnoException) => {
      clearTimeout(deadline);
      const hint = cause.code === "ECONNREFUSED" ? "nothing listens there; is the server's proxy up, and the address of the route right?" : cause.message;
      reject(new DialError("connect_failed", `cannot connect to ${where}: ${hint}`, { cause }));
    });
    raw.once("connect", () => {
      clearTimeout(deadline);
      resolve();
    });
  });
}

/** Undefined where it has none that TLS could name. @source RFC 6066 section 3 */
function nameOf({ host, address }: Destination): string | undefined {
  const name = host ?? address.host;
  return isIP(name) === 0 && !name.includes(":") ? name : undefined;
}

function secured(raw: Socket, secureContext: SecureContext, where: string, servername: string | undefined, timeoutMs: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const deadline = setTimeout(() => reject(new DialError("handshake_timeout", `${where} did not finish the TLS handshake within ${timeoutMs} ms`)), timeoutMs);
    const failed = (detail: string, cause?: Error): void => {
      clearTimeout(deadline);
      reject(new DialError("handshake_failed", `TLS handshake with ${where} failed (${detail}); there must be a countersign proxy's inbound port`, { cause }));
    };
    // OpenSSL has no anchors and so no opinion (tls-context.ts); the chain is judged by `verifyPeer` when this resolves.
    const socket = connectTls({ socket: raw, secureContext, rejectUnauthorized: false, ...(servername !== undefined && { servername }) });
    socket.on("error", (cause: NodeJS.ErrnoException) => failed(cause.code ?? cause.message, cause));
    socket.once("close", () => failed("connection closed"));
    socket.once("secureConnect", () => {
      clearTimeout(deadline);
      resolve(socket);
    });
  });
}
