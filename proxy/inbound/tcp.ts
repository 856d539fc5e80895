import { connect } from "node:net";
import type { SocketAddress } from "../address.ts";
import type { ProxyConfig } from "../config.ts";
import { joinSockets, type PipeEnd } from "../pipe.ts";
import type { AcceptedPeer } from "./accept.ts";

export type AppSettings = Pick<ProxyConfig, "connectTimeoutMs" | "idleTimeoutMs">;

/**
 * Carries a verified connection to the app as it is: opaque bytes, half-close and failure of each side.
 * @param head bytes already read from the peer
 */
export function joinApp(accepted: AcceptedPeer, head: Uint8Array | undefined, settings: AppSettings, failed: (error: Error) => void): void {
  const { socket } = accepted;
  const app = connectApp(accepted.app, settings, failed, (bytes) => {
    // TLS encrypts at once unless a write is under way; only then the shared buffer would be overwritten before its turn.
    return socket.write(socket.writableLength === 0 ? bytes : Buffer.from(bytes));
  });
  if (head !== undefined && head.length > 0) app.socket.write(head);
  joinSockets(accepted, { ...app, pushed: true }, settings.idleTimeoutMs);
}

/** Joins with a connection to the app that is open already. */
export function joinOpenApp(accepted: AcceptedPeer, app: PipeEnd, head: Uint8Array, settings: AppSettings): void {
  if (head.length > 0) app.socket.write(head);
  joinSockets(accepted, app, settings.idleTimeoutMs);
}

/**
 * Opens a connection to the app.
 * @param failed told why when it could not be opened
 * @param push   takes the app's bytes, which are overwritten when it returns; false pauses. Default: the socket's `data` events
 */
export function connectApp(
  app: SocketAddress, { connectTimeoutMs }: Pick<AppSettings, "connectTimeoutMs">, failed: (error: Error) => void, push?: (bytes: Buffer) => boolean,
): PipeEnd {
  const socket = connect({
    host: app.host, port: app.port, allowHalfOpen: true, noDelay: true,
    ...(push !== undefined && { onread: { buffer: readBuffer(), callback: (size: number, buffer: Uint8Array) => push((buffer as Buffer).subarray(0, size)) } }),
  });
  const onTimeout = (): void => void socket.destroy(new Error(`no connection to the app within ${connectTimeoutMs} ms`));
  socket.setTimeout(connectTimeoutMs, onTimeout);
  socket.once("error", failed);
  socket.once("connect", () => {
    socket.off("error", failed);
    socket.off("timeout", onTimeout);
    socket.setTimeout(0);
  });
  return { socket, reset: () => void socket.resetAndDestroy() };
}

/** One buffer for all connections: the kernel fills it when there is something to read, and `push` has emptied it before the next read. */
const sharedBuffer = Buffer.allocUnsafeSlow(64 * 1024);
/** Windows gives the buffer to the kernel long before there is anything to read, so there each connection has its own. */
const readBuffer = process.platform === "win32" ? () => Buffer.allocUnsafeSlow(sharedBuffer.length) : () => sharedBuffer;
