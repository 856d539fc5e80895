import { Buffer } from "node:buffer";
import { createServer, Socket, type OnReadOpts, type Server, type SocketConstructorOpts } from "node:net";
import { TLSSocket } from "node:tls";
import { maxFewBytes, writeNow, writeSoon } from "./write-soon.ts";

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

/**
 * Writes bytes that are overwritten once this returns. A socket keeps what it is given until it is sent; only TLS encrypts at once,
 * unless a write is under way.
 * @returns false if the socket asks to wait for 'drain'
 */
export function writeLent(sink: Socket, bytes: Buffer): boolean {
  if (bytes.length <= maxFewBytes) return writeSoon(sink, Buffer.from(bytes));
  writeNow(sink);
  if (sink instanceof TLSSocket && sink.writableLength === 0) return sink.write(bytes);
  if (bytes.length > placeBytes) return sink.write(Buffer.from(bytes));
  const place = takePlace(bytes.length);
  place.set(bytes);
  return writePlace(sink, place, bytes.length);
}

/** Memory to gather in what `writePlace` then writes; taken and given back without collections, as nearly all is sent at once. */
export function takePlace(length: number): Buffer {
  if (sparePlace === undefined || length > placeBytes) return Buffer.allocUnsafeSlow(Math.max(length, placeBytes));
  const place = sparePlace;
  sparePlace = undefined;
  return place;
}

/** Writes the first bytes of a place, which is the caller's no more. @returns false if the socket asks to wait for 'drain' */
export function writePlace(sink: Socket, place: Buffer, length: number): boolean {
  const bytes = place.subarray(0, length);
  if (length > maxFewBytes) writeNow(sink);
  // It would have the whole place for as long as it waits.
  if (length <= maxFewBytes || sink.writableLength > 0 || sink.connecting) {
    const own = Buffer.from(bytes);
    if (place.length === placeBytes) sparePlace = place;
    return writeSoon(sink, own);
  }
  const goesOn = sink.write(bytes);
  if (place.length === placeBytes && (sink instanceof TLSSocket || sink.writableLength === 0)) sparePlace = place;
  return goesOn;
}

/**
 * Makes a TLS connection lend its bytes from now on. Several records may come of one read, so what comes after a listener has paused
 * the socket waits in the stream, copied, as do bytes that were there before.
 * @returns whether it does: where this Node.js is not made as the one we know, nothing changes
 */
export function lendTls(socket: TLSSocket): boolean {
  const { _handle: handle } = socket as unknown as { readonly _handle: { useUserBuffer?(buffer: Buffer): void } | null };
  if (readBuffer === undefined || onRead === undefined || handle?.useUserBuffer === undefined) return false;
  handle.useUserBuffer(tlsBuffer);
  Object.assign(socket, {
    [readBuffer]: tlsBuffer,
    [onRead](size: number): boolean {
      const bytes = tlsBuffer.subarray(0, size);
      if (socket.readableFlowing !== true || socket.readableLength > 0) return socket.push(Buffer.from(bytes));
      socket.emit("data", bytes);
      return true;
    },
  });
  return true;
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

/** Where `onread` of `net.connect` puts its buffer and callback, which a TLS connection over an open socket cannot be given. (Node 26, lib/net.js) */
const [readBuffer, onRead] = ["kBuffer", "kBufferCb"].map((name) => Object.getOwnPropertySymbols(new Socket()).find(({ description }) => description === name));
/** OpenSSL gives at most one record at a time. */
const tlsBuffer = Buffer.allocUnsafeSlow(16 * 1024);
/** A record, or the head of a message. */
const placeBytes = 16 * 1024;
let sparePlace: Buffer | undefined;
const sharedBuffer = Buffer.allocUnsafeSlow(64 * 1024);
/** Windows gives the buffer to the kernel long before there is anything to read, so there each connection has its own. */
const newBuffer = process.platform === "win32" ? () => Buffer.allocUnsafeSlow(sharedBuffer.length) : () => sharedBuffer;
