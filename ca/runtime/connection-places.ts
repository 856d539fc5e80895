import type { Server, Socket } from "node:net";
import { networkOf } from "../pki/ip-address.ts";

export interface ConnectionPlaces {
  /**
   * A request has come whole on this connection: until it is answered the connection keeps its place.
   * @returns tells that it is answered, or that nobody waits for that any more
   */
  begin(socket: Ends): () => void;
}

/** What a connection is known by, whether TLS was put over it or not. */
type Ends = Pick<Socket, "remoteAddress" | "remotePort">;

interface Held {
  readonly socket: Socket;
  readonly name: string;
  readonly network: string;
  /** Requests that have come whole and are not answered. */
  underWay: number;
}

/**
 * Bounds a listener's connections so that nobody who holds on to all there are keeps others out: where all are taken, the client
 * network with the most gives one up to any that has fewer, that on which nothing is being answered for the longest. Otherwise the
 * newcomer is turned away.
 */
export function connectionPlaces(server: Server, maxConnections: number): ConnectionPlaces {
  /** Those first on which nothing was answered for the longest. */
  const open = new Map<string, Held>();
  const counts = new Map<string, number>();
  // Beyond this Node.js turns them away before anybody looks who they are.
  server.maxConnections = maxConnections + lookedAtOnce;

  server.on("connection", (socket: Socket) => {
    // Gone already.
    if (socket.remoteAddress === undefined) return;
    const held: Held = { socket, name: nameOf(socket), network: networkOf(socket.remoteAddress), underWay: 0 };
    // Its port may be taken again before the end of the last one is heard of.
    leave(open.get(held.name));
    open.set(held.name, held);
    counts.set(held.network, (counts.get(held.network) ?? 0) + 1);
    socket.once("close", () => leave(held));
    if (open.size <= maxConnections) return;
    const displaced = displacedFor(held.network) ?? held;
    leave(displaced);
    displaced.socket.destroy();
  });

  /** At once, and not when the socket has closed: of many newcomers each is to have a place of its own. */
  function leave(held: Held | undefined): void {
    if (held === undefined || open.get(held.name) !== held) return;
    open.delete(held.name);
    const left = counts.get(held.network)! - 1;
    if (left === 0) counts.delete(held.network);
    else counts.set(held.network, left);
  }

  function displacedFor(newcomer: string): Held | undefined {
    const [largest] = [...counts].reduce((one, other) => (other[1] > one[1] ? other : one));
    if (counts.get(largest)! <= counts.get(newcomer)!) return undefined;
    for (const held of open.values()) if (held.network === largest && held.underWay === 0) return held;
    return undefined;
  }

  return {
    begin(socket) {
      const name = nameOf(socket);
      const held = open.get(name);
      if (held === undefined) return () => undefined;
      held.underWay += 1;
      return () => {
        held.underWay -= 1;
        // Only now it begins to stand still.
        if (open.get(name) === held && open.delete(name)) open.set(name, held);
      };
    },
  };
}

function nameOf({ remoteAddress, remotePort }: Ends): string {
  return `${remoteAddress} ${remotePort}`;
}

/** Newcomers in one turn of the event loop, each of which holds a descriptor until it is over. */
const lookedAtOnce = 64;
