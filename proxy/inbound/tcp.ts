import { connect, type Socket } from "node:net";
import type { SocketAddress } from "../address.ts";
import type { ProxyConfig } from "../config/config.ts";
import { lentReads } from "../lent.ts";
import { joinSockets, type PipeEnd } from "../pipe.ts";
import type { AcceptedPeer } from "./accept.ts";

export type AppSettings = Pick<ProxyConfig, "connectTimeoutMs" | "idleTimeoutMs">;

/**
 * Carries a verified connection to the app as it is: opaque bytes, half-close and failure of each side.
 * @param head bytes already read from the peer
 */
export function joinApp(accepted: AcceptedPeer, head: Uint8Array | undefined, settings: AppSettings, failed: (error: Error) => void): void {
  const app = connectApp(accepted.app, settings, failed, true);
  if (head !== undefined && head.length > 0) app.socket.write(head);
  joinSockets(accepted, app, settings.idleTimeoutMs);
}

/** Joins with a connection to the app that is open already. */
export function joinOpenApp(accepted: AcceptedPeer, app: PipeEnd, head: Uint8Array, settings: AppSettings): void {
  if (head.length > 0) app.socket.write(head);
  joinSockets(accepted, app, settings.idleTimeoutMs);
}

/**
 * Opens a connection to the app.
 * @param failed told why when it could not be opened
 * @param lent   the app's bytes are only valid while the listeners of `data` run
 */
export function connectApp(
  app: SocketAddress, { connectTimeoutMs }: Pick<AppSettings, "connectTimeoutMs">, failed: (error: Error) => void, lent = false,
): PipeEnd {
  const socket: Socket = connect({
    host: app.host, port: app.port, allowHalfOpen: true, noDelay: true,
    ...(lent && { onread: lentReads(() => socket) }),
  });
  const onTimeout = (): void => void socket.destroy(new Error(`no connection to the app within ${connectTimeoutMs} ms`));
  socket.setTimeout(connectTimeoutMs, onTimeout);
  socket.once("error", failed);
  socket.once("connect", () => {
    socket.off("error", failed);
    socket.off("timeout", onTimeout);
    socket.setTimeout(0);
  });
  return { socket, lent, reset: () => void socket.resetAndDestroy() };
}
