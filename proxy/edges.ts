import type { Direction, Protocol } from "./connections.ts";

/** Who talks to whom. */
export interface Edge {
  readonly direction: Direction;
  readonly clientId: string;
  readonly serverId: string;
  /** Undefined until the first bytes have been looked at. */
  readonly protocol: Protocol | undefined;
  /** True: mutual TLS, both sides verified. */
  readonly secured: boolean;
  /** Why it is not secured; never absent where `secured` is false. */
  readonly reason?: string;
  readonly connections: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** One edge for each pair, protocol and security, in the order they come. */
export function sumEdges(parts: Iterable<Edge>): readonly Edge[] {
  const edges = new Map<string, Edge>();
  for (const part of parts) {
    const key = keyOf(part);
    const before = edges.get(key);
    edges.set(key, before === undefined ? part : {
      ...part, connections: before.connections + part.connections, bytesRead: before.bytesRead + part.bytesRead, bytesWritten: before.bytesWritten + part.bytesWritten,
    });
  }
  return [...edges.values()];
}

/** Remembers the edges of connections that have ended, since most end between two looks. */
export interface EndedEdges {
  /** @param nowMs milliseconds since the epoch */
  add(edge: Edge, nowMs: number): void;
  /** Those that ended after this, with no connections. */
  since(timeMs: number): readonly Edge[];
}

/** Makes an empty memory of `maxEnded` edges; what ended longest ago goes first. */
export function endedEdges(): EndedEdges {
  const ended = new Map<string, { readonly edge: Edge; endedAtMs: number }>();
  return {
    add(edge, nowMs) {
      const key = keyOf(edge);
      const known = ended.get(key);
      ended.delete(key);
      ended.set(key, { edge: known?.edge ?? { ...edge, connections: 0, bytesRead: 0, bytesWritten: 0 }, endedAtMs: nowMs });
      const [oldest] = ended.size > maxEnded ? ended.keys() : [];
      if (oldest !== undefined) ended.delete(oldest);
    },
    since(timeMs) {
      for (const [key, { endedAtMs }] of ended) if (endedAtMs <= timeMs) ended.delete(key);
      return [...ended.values()].map(({ edge }) => edge);
    },
  };
}

function keyOf({ direction, clientId, serverId, protocol, secured, reason }: Edge): string {
  return `${direction} ${clientId} ${serverId} ${protocol} ${secured} ${reason}`;
}

/** Peers choose how many they are; memory is ours. */
const maxEnded = 1000;
