import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";

/**
 * Resets a TLS connection whose TCP stream ends without the peer's close_notify: its process died, or somebody on the way cut it, and
 * what has come must not pass for all there is. Node.js takes the end of either for the end.
 * Which of them it is, the TCP handle knows: libuv reads on while OpenSSL tells of a close_notify, and no more once TCP has ended.
 * Where this Node.js is not made as the one we know, nothing changes.
 * @param raw  the connection under it
 * @source RFC 8446 section 6.1; Node 26, src/crypto/crypto_tls.cc (OnStreamRead, ClearOut); libuv, src/unix/stream.c (uv__stream_eof)
 */
export function refuseCutEnd(socket: TLSSocket, raw: Socket, reset: () => void): void {
  const { push } = socket;
  socket.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    if (chunk === null) {
      socket.push = push;
      if (isCut(socket, raw)) {
        reset();
        return false;
      }
    }
    return push.call(socket, chunk, encoding);
  };
}

function isCut(socket: TLSSocket, raw: Socket): boolean {
  const [secured, tcp] = [handleOf(socket), handleOf(raw)];
  // Paused: TCP is not read, so this came with the bytes before it.
  if (secured?.reading !== true || tcp?.readStart === undefined) return false;
  // libuv resets nothing whose own end is under way, and Node.js would leave it open for ever: then it ends as it did.
  if (socket.writableEnded && !socket.writableFinished) return false;
  return tcp.readStart() === 0;
}

function handleOf(socket: Socket): Handle | null {
  return (socket as unknown as { readonly _handle: Handle | null })._handle;
}

interface Handle {
  /** Kept by `net.Socket`. */
  readonly reading?: boolean;
  /** Returns UV_EALREADY where it is read. */
  readStart?(): number;
}
