import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, TLSSocket } from "node:tls";
import { networkOf } from "../../ca/pki/ip-address.ts";
import { remoteOf, type SocketAddress } from "../address.ts";
import type { Connections, OpenConnection } from "../connections.ts";
import type { Identity } from "../identity/source.ts";
import type { DataPathDeps } from "../data-path.ts";
import { originalDestinations } from "../intercept/original-destination.ts";
import { keepAlive } from "../keep-alive.ts";
import { lendTls } from "../lent.ts";
import { isOpaquePort } from "../opaque.ts";
import { PeerError, type Peer, type PeerVerifier } from "../peer.ts";
import type { PipeEnd } from "../pipe.ts";
import type { Refusal } from "../refusals.ts";
import type { Admission, Admit } from "./admission.ts";
import { anonymousTlsOptions, tlsOptionsOf } from "../tls-context.ts";
import { refuseCutEnd } from "../tls-end.ts";

/** A connection whose peer is verified and allowed; nothing has been read from it yet. */
export interface AcceptedPeer extends PipeEnd {
  readonly socket: Socket;
  /** Undefined: plain text, in the mode permissive. */
  readonly peer: Peer | undefined;
  /** Our own ID in this connection. */
  readonly localId: string;
  /** Where the app is reached: the configured one, or where the connection was going before it was redirected to us. */
  readonly app: SocketAddress;
  readonly connection: OpenConnection;
  /** What it may, by the policy of the moment it is asked. */
  readonly admission: Admission;
  /** Set by the protocol that takes over, where it can end a connection between two requests. */
  retire: (() => void) | undefined;
  /** Set while it is not certain yet that its bytes may. */
  mayPass: ((bytes: Buffer) => boolean) | undefined;
  /** Whether policy lets it be. Set by the protocol that carries several requests at once, which then ends those that may not go on. */
  isAllowed: () => boolean;
}

export interface AcceptDeps extends Pick<DataPathDeps, "config" | "source" | "log"> {
  readonly verifier: PeerVerifier;
  readonly connections: Connections;
  readonly admit: Admit;
  readonly refuse: (refusal: Refusal) => void;
  readonly onPeer: (accepted: AcceptedPeer) => void;
}

/**
 * Makes the listener of the inbound side: bounds what is open, completes the handshake under a deadline, verifies the peer,
 * asks the policy, and only then hands the connection on. It does not listen yet.
 */
export function acceptPeers({ config, source, log, verifier, connections, admit, refuse, onPeer }: AcceptDeps): Server {
  /** By both ends of the connection: the socket that TLS hands back is another than the one that was accepted. */
  const handshakes = new Map<string, Handshake>();
  const originalDestination = config.transparent === undefined ? undefined : originalDestinations();
  const tls = createTlsServer({ ...anonymousTlsOptions, requestCert: true, rejectUnauthorized: false });
  const useIdentity = (): void => {
    const identity = source.identity();
    if (identity !== undefined) tls.setSecureContext(tlsOptionsOf(identity, config.keyExchange));
  };
  useIdentity();

  const tcp = createTcpServer({ allowHalfOpen: true, noDelay: true, ...keepAlive }, (raw) => {
    const peer = remoteOf(raw);
    const from = networkOf(raw.remoteAddress ?? "");
    const ends = endsOf(raw);
    const identity = source.identity();
    raw.on("error", () => undefined);
    if (identity === undefined) {
      refuse({ reason: "identity_unavailable", peer, network: from, message: "connection refused: this proxy has no valid certificate, or does not know yet what is revoked; see /readyz" });
      return void raw.resetAndDestroy();
    }
    makeRoom(from);
    const handshake: Handshake = {
      raw, identity, app: originalDestination?.(raw) ?? config.app, from, deadline: setTimeout(() => expire(handshake), config.handshakeTimeoutMs), silence: undefined, fault: undefined,
    };
    handshakes.set(ends, handshake);
    raw.once("close", () => {
      if (!finish(ends, handshake)) return;
      const [reason, message] = handshake.fault ?? handshakeFault("ECONNRESET");
      refuse({ reason, peer, network: from, message: `connection refused: ${message}` });
    });
    if (config.inboundMode === "permissive") waitForFirst(handshake);
    else tls.emit("connection", raw);
  });

  /**
   * The first byte tells: a TLS handshake begins with 22 (RFC 8446 5.1), and no text does. Clients of TLS speak first and at once,
   * so where the server is declared to speak first, silence is plain text too.
   */
  function waitForFirst(handshake: Handshake): void {
    const { raw, app } = handshake;
    const onFirst = (first: Buffer): void => {
      clearTimeout(handshake.silence);
      raw.pause();
      raw.unshift(first);
      if (first[0] === tlsHandshake) tls.emit("connection", raw);
      else takePlain(handshake);
    };
    raw.once("data", onFirst);
    if (!isOpaquePort(config, app.port)) return;
    handshake.silence = setTimeout(() => {
      raw.off("data", onFirst).pause();
      takePlain(handshake);
    }, config.handshakeTimeoutMs * silentPart);
  }

  function takePlain(handshake: Handshake): void {
    const { raw } = handshake;
    finish(endsOf(raw), handshake);
    handOn(raw, raw, handshake, undefined);
    raw.resume();
  }

  /** Nobody is kept out by those who began a handshake and do not go on: the oldest goes, of the same network if it has its share. */
  function makeRoom(from: string): void {
    const ofNetwork = [...handshakes].filter(([, handshake]) => handshake.from === from);
    const left = config.maxConnections - connections.count();
    const full = handshakes.size >= Math.min(maxHandshakes, left > 0 ? left : spareHandshakes);
    const [oldest] = ofNetwork.length >= maxHandshakesPerNetwork ? ofNetwork : full ? handshakes : [];
    if (oldest === undefined) return;
    const [ends, handshake] = oldest;
    finish(ends, handshake);
    refuse({ reason: "handshake_displaced", peer: remoteOf(handshake.raw), network: handshake.from, message: `connection refused: ${handshakes.size + 1} handshakes were under way and this was the oldest; it made room for the next` });
    handshake.raw.resetAndDestroy();
  }

  function expire(handshake: Handshake): void {
    handshake.fault = ["handshake_timeout", `the TLS handshake was not finished within ${config.handshakeTimeoutMs} ms`];
    handshake.raw.resetAndDestroy();
  }

  /** @returns false if it was finished before */
  function finish(ends: string, handshake: Handshake): boolean {
    clearTimeout(handshake.deadline);
    clearTimeout(handshake.silence);
    return handshakes.get(ends) === handshake && handshakes.delete(ends);
  }

  tls.on("secureConnection", (socket: TLSSocket) => {
    const address = remoteOf(socket);
    const ends = endsOf(socket);
    const handshake = handshakes.get(ends);
    // Its TCP connection is gone already.
    if (handshake === undefined || !finish(ends, handshake)) return void socket.destroy();
    socket.on("error", () => undefined);
    const peer = verifyClient(socket, address, handshake.from);
    if (peer === undefined) return void socket.destroy();
    handOn(socket, handshake.raw, handshake, peer);
  });

  function handOn(socket: Socket, raw: Socket, { identity, app, from }: Handshake, peer: Peer | undefined): void {
    const reset = (): void => void raw.resetAndDestroy();
    const admission = admit(peer?.svid.id, identity.id.uri, app.port);
    if (admission === undefined) return void socket.destroy();
    if (connections.count() >= config.maxConnections && !connections.makeRoom(peer?.svid.id.uri ?? "")) {
      refuse({
        reason: "too_many_connections", peer: peer?.svid.id.uri ?? remoteOf(raw), network: peer?.svid.id.uri ?? from,
        message: `connection refused: ${config.maxConnections} are open already; raise maxConnections if that is what you expect`,
      });
      return reset();
    }
    const accepted: AcceptedPeer = {
      socket, lent: socket instanceof TLSSocket && lendTls(socket), peer, admission, reset, app, localId: identity.id.uri, retire: undefined, mayPass: undefined, isAllowed: admission.isAllowed,
      connection: connections.add({
        peer, ...(peer === undefined && { noTlsReason: "plain_text" }), localId: identity.id.uri, localValidUntilMs: identity.notAfterMs + 1000,
        traffic: () => socket, cut: reset, retire: () => accepted.retire?.(), closeQuiet: () => void (accepted.retire === undefined && socket.end()), isAllowed: () => accepted.isAllowed(),
      }),
    };
    socket.once("close", () => accepted.connection.closed());
    if (socket instanceof TLSSocket) refuseCutEnd(socket, raw, reset);
    onPeer(accepted);
  }

  function verifyClient(socket: TLSSocket, address: string, network: string): Peer | undefined {
    try {
      return verifier.verify(socket, "client");
    } catch (error) {
      if (!(error instanceof PeerError)) log.error({ error, peer: address }, "connection refused: verifying the peer failed unexpectedly");
      else refuse({ reason: error.code, peer: address, network, message: `connection refused: ${error.message}` });
    }
    return undefined;
  }

  tls.on("tlsClientError", (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    const handshake = handshakes.get(endsOf(socket));
    if (handshake !== undefined) handshake.fault ??= handshakeFault(error.code ?? "");
    socket.destroy();
  });

  const unsubscribe = source.onChange((what) => { if (what === "identity") useIdentity(); });
  tcp.once("close", unsubscribe);
  return tcp;
}

interface Handshake {
  readonly raw: Socket;
  /** Whose certificate we present in it; a renewal meanwhile changes only the next one. */
  readonly identity: Identity;
  readonly app: SocketAddress;
  /** Whose share it is of. */
  readonly from: string;
  readonly deadline: NodeJS.Timeout;
  /** Until a client that says nothing is let wait for the server. */
  silence: NodeJS.Timeout | undefined;
  /** Why it is about to fail. */
  fault: [reason: string, message: string] | undefined;
}

function endsOf(socket: Socket): string {
  return `${remoteOf(socket)} ${socket.localAddress}:${socket.localPort}`;
}

function handshakeFault(code: string): [reason: string, message: string] {
  if (notTls.has(code)) return ["not_tls", "the client spoke plain text to a port that takes mutual TLS only; send it through the client's own proxy"];
  if (code === "ERR_SSL_UNSUPPORTED_PROTOCOL") return ["tls_version", "the client offered no TLS 1.3"];
  if (code === "ECONNRESET") return ["handshake_abandoned", "the client went away during the TLS handshake"];
  return ["handshake_failed", `the TLS handshake failed (${code}); both sides must be proxies with a current certificate`];
}

const notTls: ReadonlySet<string> = new Set(["ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_HTTP_REQUEST", "ERR_SSL_PACKET_LENGTH_TOO_LONG"]);
const tlsHandshake = 22;
/** Of the handshake timeout, 2.5 s by default: longer than a lost first packet takes to come again. */
const silentPart = 0.25;
/** A handshake holds about 60 KiB and half a millisecond of CPU: this many take 30 MiB and a quarter of a second. */
const maxHandshakes = 512;
/** Half of them, so that one network cannot displace those of all others. */
const maxHandshakesPerNetwork = 256;
/** Where everything is taken: it has to be known who somebody is to see whether there is room to be made. */
const spareHandshakes = 16;
