import { createServer, Socket, type OnReadOpts, type Server, type SocketConstructorOpts } from "node:net";
import { TLSSocket } from "node:tls";

/**
 * Reading into one buffer for all plain connections. Node takes 64 KiB of memory for each read of a socket, and collecting that costs
 * more than the read (Node 26.10). Here the `data` events of a socket lend
 * their bytes: they are overwritten once the listeners return.
 * @param socket whose `data` events there will be
 */
export function lentReads(socket: () => Socket): OnReadOpts {
  return {
    buffer: newBuffer(),
    callback(size, buffer) {
      socket().emit("data", (buffer as Buffer).subarray(0, size));
      // Who wants no more has paused the socket.
      return true;
    },
  };
}

/** The bytes as they may be written to `sink`, which keeps them until they are sent; only TLS encrypts at once, unless a write is under way. */
export function keepable(bytes: Buffer, sink: Socket): Buffer {
  return sink instanceof TLSSocket && sink.writableLength === 0 ? bytes : Buffer.from(bytes);
}

/** Makes a server of plain connections that lend their bytes; nothing is read from one before it has a listener. */
export function lendingServer(take: (socket: Socket) => void): Server {
  return createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (accepted) => take(lending(accepted)));
}

/** The same connection as a socket that lends: only a new one can be told so, and only by the handle that both have. */
function lending(accepted: Socket): Socket {
  const { _handle: handle } = accepted as unknown as WithHandle;
  if (handle === null) return accepted;
  const options = { handle, manualStart: true, allowHalfOpen: true, onread: lentReads(() => socket) };
  const socket: Socket = new Socket(options as SocketConstructorOpts);
  (accepted as unknown as WithHandle)._handle = null;
  // The server counts the socket it made.
  socket.once("close", () => accepted.destroy());
  return socket;
}

/** What `net.Server` makes the socket of a connection from, as we do; `manualStart` reads nothing before `resume`. (Node 26, lib/net.js: onconnection) */
interface WithHandle {
  _handle: object | null;
}

const sharedBuffer = Buffer.allocUnsafeSlow(64 * 1024);
/** Windows gives the buffer to the kernel long before there is anything to read, so there each connection has its own. */
const newBuffer = process.platform === "win32" ? () => Buffer.allocUnsafeSlow(sharedBuffer.length) : () => sharedBuffer;
