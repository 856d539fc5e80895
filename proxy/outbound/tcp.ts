import type { Server, Socket } from "node:net";
import type { TcpListener } from "../config/config.ts";
import { lendingServer } from "../lent.ts";
import { opaqueProtocol } from "../opaque.ts";
import { joinSockets } from "../pipe.ts";
import type { Dial } from "./dial.ts";

/** Makes the listener of a fixed local port that leads to one service; it does not listen yet. */
export function tcpForwarder(destination: TcpListener, dial: Dial, idleTimeoutMs: number): Server {
  // Nothing is read before the server is verified: backpressure keeps the app's bytes with the app.
  return lendingServer((app) => {
    tunnel(app, undefined, destination, dial, idleTimeoutMs, () => void app.resetAndDestroy(), () => undefined);
  });
}

/**
 * Joins the app's connection with a new one to the destination.
 * @param head     bytes the app has sent already
 * @param refused  told why there is no connection
 * @param opened   told when there is one, before the first byte passes
 */
export function tunnel(
  app: Socket, head: Uint8Array | undefined, destination: Parameters<Dial>[0], dial: Dial, idleTimeoutMs: number,
  refused: (error: Error) => void, opened: () => void,
): void {
  const reset = (): void => void app.resetAndDestroy();
  app.on("error", () => undefined);
  dial(destination, { allowHalfOpen: true }).then((server) => {
    if (app.destroyed) return server.reset();
    opened();
    if (head !== undefined && head.length > 0) {
      server.connection.speaks(opaqueProtocol(head));
      server.socket.write(head);
    } else app.once("data", (first: Buffer) => server.connection.speaks(opaqueProtocol(first)));
    joinSockets(server, { socket: app, lent: true, reset }, idleTimeoutMs);
  }, refused);
}
