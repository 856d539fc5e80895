import { EventEmitter } from "node:events";
import type { Server, Socket } from "node:net";
import { expect, test } from "vitest";
import { connectionPlaces } from "../../../ca/runtime/connection-places.ts";

/** What of a listener and its connections is looked at. The kernel tells of their ends in an order that real ones cannot be made to take. */
class Listener extends EventEmitter {
  maxConnections = 0;
  accept(remoteAddress: string | undefined, remotePort: number | undefined): Connection {
    const connection = new Connection(remoteAddress, remotePort);
    this.emit("connection", connection as unknown as Socket);
    return connection;
  }
}
class Connection extends EventEmitter {
  destroyed = false;
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  constructor(remoteAddress: string | undefined, remotePort: number | undefined) {
    super();
    this.remoteAddress = remoteAddress;
    this.remotePort = remotePort;
  }
  destroy(): void {
    this.destroyed = true;
  }
}

function full(): { readonly listener: Listener; readonly held: readonly Connection[] } {
  const listener = new Listener();
  connectionPlaces(listener as unknown as Server, 4);
  return { listener, held: [1, 2, 3, 4].map((port) => listener.accept("10.0.0.1", port)) };
}

test("the network with the most makes room, by what has stood still the longest", () => {
  const { listener, held } = full();
  expect(listener.accept("10.0.0.2", 1).destroyed).toBe(false);
  expect(held.map(({ destroyed }) => destroyed)).toEqual([true, false, false, false]);
  expect(listener.accept("10.0.0.1", 5).destroyed).toBe(true);
});

test("connections that were gone before anybody looked take no place, and are nobody's", () => {
  const { listener, held } = full();
  for (let count = 0; count < 20; count++) listener.accept(undefined, undefined).emit("close");
  expect(held.some(({ destroyed }) => destroyed)).toBe(false);
  expect(listener.accept("10.0.0.2", 1).destroyed).toBe(false);
  expect(held[0]!.destroyed).toBe(true);
});

test("a port that is used again before the end of its last connection is heard of counts once", () => {
  const listener = new Listener();
  connectionPlaces(listener as unknown as Server, 4);
  for (let count = 0; count < 20; count++) for (const each of [listener.accept("10.0.0.1", 1), listener.accept("10.0.0.1", 1)]) each.emit("close");
  const held = [1, 2, 3, 4].map((port) => listener.accept("10.0.0.3", port));
  expect(held.some(({ destroyed }) => destroyed)).toBe(false);
  expect(listener.accept("10.0.0.2", 1).destroyed).toBe(false);
  expect(held[0]!.destroyed).toBe(true);
});
