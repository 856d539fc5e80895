import type { Socket } from "node:net";

/** Gathers what is to be written to a socket, so that what belongs together leaves in one packet and one system call. */
export interface Outbox {
  /** Latin-1 text. */
  text(piece: string): void;
  bytes(piece: Uint8Array): void;
  /**
   * Writes what was gathered.
   * @param borrowed the pieces are overwritten once this returns
   * @returns false if the socket asks to wait for 'drain'
   */
  flush(borrowed: boolean): boolean;
}

/** Makes the outbox of a socket; `borrowed` pieces only ever go to TLS sockets, which encrypt at once unless a write is under way. */
export function outbox(socket: Socket): Outbox {
  /** Before the first bytes. */
  let before = "";
  let first: Uint8Array | undefined;
  let behind: (string | Uint8Array)[] | undefined;

  function joined(): Buffer {
    let size = before.length + first!.length;
    if (behind !== undefined) for (const piece of behind) size += piece.length;
    const whole = Buffer.allocUnsafe(size);
    let at = whole.write(before, 0, "latin1");
    whole.set(first!, at);
    at += first!.length;
    if (behind === undefined) return whole;
    for (const piece of behind) {
      if (typeof piece === "string") whole.write(piece, at, "latin1");
      else whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }

  return {
    text(piece) {
      if (first === undefined) before += piece;
      else (behind ??= []).push(piece);
    },
    bytes(piece) {
      if (first === undefined) first = piece;
      else (behind ??= []).push(piece);
    },
    flush(borrowed) {
      if (first === undefined) {
        if (before === "") return !socket.writableNeedDrain;
        const text = before;
        before = "";
        return socket.write(text, "latin1");
      }
      const whole = before === "" && behind === undefined ? (borrowed && socket.writableLength > 0 ? Buffer.from(first) : first) : joined();
      before = "";
      first = behind = undefined;
      return socket.write(whole);
    },
  };
}
