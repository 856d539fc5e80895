import { endedEdges, sumEdges, type Edge } from "./edges.ts";
import { displacedFor, type Displaceable } from "./displaced.ts";
import type { IdentitySource } from "./identity/source.ts";
import type { Log } from "./log.ts";
import { connectionMetrics, peerLabels, type Counted } from "./connection-metrics.ts";
import type { Metrics } from "./metrics.ts";
import { pacedByName } from "./paced.ts";
import { PeerError, type Peer, type PeerVerifier } from "./peer.ts";

export type Direction = "inbound" | "outbound";
/** `tls`: the app itself speaks it, inside of ours or in the clear. */
export type Protocol = "http" | "http2" | "tcp" | "tls";

/** Why a connection is not under mutual TLS: `plain_text` was taken from outside, or `no_route` names who must answer. */
export type NoTlsReason = "plain_text" | "no_route";

/** A connection whose peer is verified, as its owner hands it over. */
export interface NewConnection {
  /** Undefined: without mutual TLS, nobody proved anything. */
  readonly peer: Peer | undefined;
  /** Why there is no peer; given where there is none. */
  readonly noTlsReason?: NoTlsReason;
  /** Our own ID in this connection. */
  readonly localId: string;
  /** When our own certificate in this connection expires, milliseconds since the epoch; the peer cuts it then anyway. */
  readonly localValidUntilMs: number;
  /** Bytes read and written so far. */
  readonly traffic: () => { readonly bytesRead: number; readonly bytesWritten: number };
  /** Ends it without losing anything: no new request, then close. Left out where the protocol has no such moment. */
  readonly retire?: () => void;
  /** Closes a stream of opaque bytes in order, at a moment when nothing moves. */
  readonly closeQuiet?: () => void;
  /** Whether policy still lets it be; left out where no policy is asked. */
  readonly isAllowed?: () => boolean;
  /** Ends it at once; nothing buffered goes out any more. */
  readonly cut: () => void;
}

/** Held by the owner of a connection. */
export interface OpenConnection {
  /** What it turned out to carry. */
  speaks(protocol: Protocol): void;
  /** It has ended; safe to call twice. */
  closed(): void;
}

/** The live connections of one direction. */
export interface Connections {
  add(connection: NewConnection): OpenConnection;
  count(): number;
  /** Ends a connection of the client that holds more than half of all, so that another one is let in. @returns false: there is none */
  makeRoom(clientId: string): boolean;
  /** Who talks to whom, now. */
  edges(): readonly Edge[];
  /** Also who did lately, with no connections. */
  recentEdges(): readonly Edge[];
  /** Asks every connection to end without losing anything. */
  retireAll(): void;
  cutAll(): void;
  /** Resolves when none is left, or after `timeoutMs`; never rejects. */
  drained(timeoutMs: number): Promise<void>;
  /** Ends the timer and the subscription. */
  stop(): void;
}

export interface ConnectionsDeps {
  readonly direction: Direction;
  readonly source: IdentitySource;
  readonly verifier: Pick<PeerVerifier, "recheck" | "recheckRevoked">;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Of each connection a random nine tenths to all of it, so that those opened together do not end together. */
  readonly maxAgeMs: number;
  /** Uniform in [0, 1); default the machine's. */
  readonly random?: () => number;
}

/**
 * Keeps what is open and ends what may no longer be: a revoked peer is cut in the turn of the event loop in which that becomes
 * known; by new bundles every peer is judged again, some in each turn, since that takes 150 us each; expiry and age are looked at
 * every second.
 */
export function trackConnections({ direction, source, verifier, metrics, log, now, maxAgeMs, random = Math.random }: ConnectionsDeps): Connections {
  const live = new Set<Live>();
  const ended = endedEdges();
  const waiting = new Set<() => void>();
  const say = pacedByName(now);
  const count = connectionMetrics(metrics, direction);
  const labels = peerLabels(direction);
  let judgedBy = source.trust()?.bundles;
  let unjudged: readonly Live[] = [];
  let turn: NodeJS.Immediate | undefined;

  function remove(connection: Live): void {
    if (!live.delete(connection)) return;
    count.traffic(connection);
    count.closed(connection);
    ended.add(edgeOf(connection), now());
    if (live.size === 0) for (const resolve of [...waiting]) resolve();
  }

  function cut(connection: Live, reason: string): void {
    const { localId, peer } = connection.given;
    const peerId = peer?.svid.id.uri;
    say(`${reason} ${peerId}`, (heldBack) => (
      log.info({ direction, localId, peerId, serialNumber: peer?.svid.serialNumber, reason, ...(heldBack > 0 && { heldBack }) }, "connection cut")
    ));
    count.cut(reason);
    connection.given.cut();
    remove(connection);
  }

  function retire(connection: Live): void {
    if (connection.retired) return;
    connection.retired = true;
    connection.given.retire?.();
  }

  function closeQuiet(connection: Live): void {
    if (connection.closedQuiet) return;
    connection.closedQuiet = true;
    connection.given.closeQuiet?.();
  }

  function judge(connections: readonly Live[], check: (peer: Peer) => void): void {
    for (const connection of connections) {
      if (!live.has(connection)) continue;
      try {
        if (connection.given.peer !== undefined) check(connection.given.peer);
      } catch (error) {
        if (!(error instanceof PeerError)) throw error;
        cut(connection, error.code);
      }
    }
  }

  function onTrust(): void {
    judge([...live], verifier.recheckRevoked);
    const bundles = source.trust()?.bundles;
    if (bundles === judgedBy) return;
    judgedBy = bundles;
    // What a run under way has not come to is in here too.
    unjudged = [...live];
    turn ??= setImmediate(judgeSome);
  }

  /** A look at a connection takes some microseconds: 10 000 of them, some hundredths of a second. */
  function onPolicy(): void {
    for (const connection of [...live]) if (connection.given.isAllowed?.() === false) cut(connection, "policy_denied");
  }

  function judgeSome(): void {
    judge(unjudged.slice(0, judgedPerTurn), verifier.recheck);
    unjudged = unjudged.slice(judgedPerTurn);
    turn = unjudged.length > 0 ? setImmediate(judgeSome) : undefined;
  }

  function age(): void {
    const nowMs = now();
    for (const connection of [...live]) {
      if (count.traffic(connection)) connection.movedAtMs = nowMs;
      const { endsAtMs, retiresAtMs, endsBecause } = connection;
      if (nowMs >= endsAtMs) cut(connection, endsBecause);
      else if (nowMs >= retiresAtMs) {
        retire(connection);
        // Between two exchanges, as far as anybody can tell who does not know the protocol.
        if (nowMs - connection.movedAtMs >= quietMs) closeQuiet(connection);
      }
    }
  }

  const unsubscribe = source.onChange((what) => {
    if (what === "trust") onTrust();
    else if (what === "policy") onPolicy();
  });
  const timer = setInterval(age, ageCheckMs);
  timer.unref();

  return {
    add(given) {
      const { peer } = given;
      const openedAtMs = now();
      // RFC 5280 4.1.2.5: notAfter is inclusive and counts whole seconds.
      const validUntilMs = peer === undefined ? Infinity : Math.min(peer.svid.validUntilMs + 1000, given.localValidUntilMs);
      const endsAtMs = Math.min(validUntilMs, openedAtMs + maxAgeMs * (1 - maxAgeJitter * random()));
      const labelled = labels(given);
      const connection: Live = {
        given, openedAtMs, endsAtMs, endsBecause: endsAtMs === validUntilMs ? "expired" : "max_age",
        retiresAtMs: endsAtMs - Math.min(retirementMs, (endsAtMs - openedAtMs) / 10),
        labels: labelled, clientId: labelled["client_id"] ?? "", movedAtMs: openedAtMs,
        protocol: undefined, retired: false, closedQuiet: false, bytesRead: 0, bytesWritten: 0,
      };
      live.add(connection);
      count.opened(connection);
      return {
        speaks(protocol) {
          connection.protocol = protocol;
          if (protocol === "tls") count.appTls(connection);
        },
        closed: () => remove(connection),
      };
    },
    count: () => live.size,
    makeRoom(clientId) {
      const displaced = displacedFor(clientId, live);
      if (displaced !== undefined) cut(displaced, "displaced");
      return displaced !== undefined;
    },
    edges: () => sumEdges([...live].map(edgeOf)),
    recentEdges: () => sumEdges([...[...live].map(edgeOf), ...ended.since(now() - recentMs)]),
    retireAll() {
      for (const connection of [...live]) retire(connection);
    },
    cutAll() {
      for (const connection of [...live]) {
        connection.given.cut();
        remove(connection);
      }
    },
    drained(timeoutMs) {
      if (live.size === 0) return Promise.resolve();
      return new Promise((resolve) => {
        const finish = (): void => {
          waiting.delete(finish);
          clearTimeout(deadline);
          resolve();
        };
        const deadline = setTimeout(finish, timeoutMs);
        waiting.add(finish);
      });
    },
    stop() {
      clearInterval(timer);
      clearImmediate(turn);
      unsubscribe();
    },
  };
}

interface Live extends Displaceable, Counted {
  readonly given: NewConnection;
  readonly openedAtMs: number;
  readonly retiresAtMs: number;
  readonly endsAtMs: number;
  readonly endsBecause: "expired" | "max_age";
  protocol: Protocol | undefined;
  movedAtMs: number;
  retired: boolean;
  closedQuiet: boolean;
}

function edgeOf({ labels, given, protocol }: Live): Edge {
  const { direction, client_id: clientId = "", server_id: serverId = "" } = labels;
  const { bytesRead, bytesWritten } = given.traffic();
  return {
    direction: direction as Direction, clientId, serverId, protocol, connections: 1, bytesRead, bytesWritten,
    // Whatever has a peer went through mutual TLS and `verifySvid`; there is no other way in.
    ...(given.peer === undefined ? { secured: false, reason: given.noTlsReason ?? "plain_text" } : { secured: true }),
  };
}

/** Some 7 ms, if every chain has to be verified: what waits meanwhile is late by as much. */
const judgedPerTurn = 50;
/** Part of the maximum age that is left to chance. */
const maxAgeJitter = 0.1;
/** How exactly expiry and age are kept. A look at 10 000 connections costs about a millisecond. */
const ageCheckMs = 1000;
/** How long before its end a connection that can is asked to finish what it has begun. */
const retirementMs = 30_000;
/** In the rest of that time, a stream of bytes on which nothing moved for so long is closed: its client sees an end, not a reset. */
const quietMs = 5000;
/** Longer than from one report to the CA to the next. */
const recentMs = 90_000;
