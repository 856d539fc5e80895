import type { Socket } from "node:net";
import { writeLent } from "../lent.ts";
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
  const sources: (string | Buffer)[] = [];
  /** Of each source: where it begins and ends. */
  const ranges: number[] = [];
  let size = 0;

  function joined(): Buffer {
    const whole = Buffer.allocUnsafe(size);
    for (let index = 0, at = 0; index < sources.length; index++) {
      const source = sources[index]!;
      const [from, to] = [ranges[2 * index]!, ranges[2 * index + 1]!];
      if (typeof source === "string") whole.write(source, at, "latin1");
      else source.copy(whole, at, from, to);
      at += to - from;
    }
    return whole;
  }

  return {
    text(text) {
      sources.push(text);
      ranges.push(0, text.length);
      size += text.length;
    },
    bytes(bytes, from, to) {
      size += to - from;
      // What stands together goes in one piece, which need not be copied.
      const last = sources.length - 1;
      if (sources[last] === bytes && ranges[2 * last + 1] === from) return void (ranges[2 * last + 1] = to);
      sources.push(bytes);
      ranges.push(from, to);
    },
    flush(borrowed) {
      if (size === 0) return !socket.writableNeedDrain;
      const [only] = sources;
      const piece = sources.length === 1 && typeof only === "object" ? only.subarray(ranges[0], ranges[1]) : undefined;
      const bytes = piece ?? joined();
      sources.length = ranges.length = size = 0;
      return borrowed && piece !== undefined ? writeLent(socket, piece) : socket.write(bytes);
    },
  };
}
