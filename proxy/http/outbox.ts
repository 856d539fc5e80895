import type { Socket } from "node:net";
import { takePlace, writeLent, writePlace } from "../lent.ts";
import { writeSoon } from "../write-soon.ts";
import type { Pieces } from "./forwarded.ts";

/** Gathers what is to be written to a socket, so that what belongs together leaves in one packet and one system call. */
export interface Outbox extends Pieces {
  /**
   * Writes what was gathered.
   * @param borrowed the pieces are overwritten once this returns
   * @returns false if the socket asks to wait for 'drain'
   */
  flush(borrowed: boolean): boolean;
}

/** Makes the outbox of a socket. */
export function outbox(socket: Socket): Outbox {
  /** What was gathered but the last piece; undefined while there is none. */
  let place: Buffer | undefined;
  let size = 0;
  /** The last piece. What stands together goes in one, and one that is alone is not copied. */
  let last: Buffer | undefined;
  let [lastFrom, lastTo] = [0, 0];

  function room(length: number): Buffer {
    if (place === undefined) place = takePlace(length);
    else if (size + length > place.length) {
      const larger = Buffer.allocUnsafeSlow(2 * (size + length));
      larger.set(place.subarray(0, size));
      place = larger;
    }
    return place;
  }

  function gatherLast(): void {
    if (last === undefined) return;
    const to = room(lastTo - lastFrom);
    if (lastTo - lastFrom > maxLoopBytes) last.copy(to, size, lastFrom, lastTo);
    else for (let from = lastFrom, at = size; from < lastTo; from++, at++) to[at] = last[from]!;
    size += lastTo - lastFrom;
    last = undefined;
  }

  function flushLast(bytes: Buffer, borrowed: boolean): boolean {
    const piece = lastTo - lastFrom === bytes.length ? bytes : bytes.subarray(lastFrom, lastTo);
    last = undefined;
    return borrowed ? writeLent(socket, piece) : writeSoon(socket, piece);
  }

  return {
    text(text) {
      gatherLast();
      room(text.length).write(text, size, "latin1");
      size += text.length;
    },
    bytes(bytes, from, to) {
      if (last === bytes && lastTo === from) return void (lastTo = to);
      gatherLast();
      last = bytes;
      lastFrom = from;
      lastTo = to;
    },
    flush(borrowed) {
      if (place === undefined) return last === undefined ? !socket.writableNeedDrain : flushLast(last, borrowed);
      gatherLast();
      const [gathered, length] = [place, size];
      place = undefined;
      size = 0;
      return writePlace(socket, gathered, length);
    },
  };
}

/** Up to here a loop is faster than a call. */
const maxLoopBytes = 16;
