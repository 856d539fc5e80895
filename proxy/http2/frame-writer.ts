import type { Socket } from "node:net";
import { outbox } from "../http/outbox.ts";
import type { DataHead } from "./frame-reader.ts";
import { frameFlag, frameHeadBytes, frameOf, frameType, writeFrameHead } from "./frames.ts";

/** Writes frames to one end of a connection: those passed on, and our own between them. */
export interface FrameWriter {
  /** A whole frame; while a DATA frame is under way it waits for its end. */
  frame(frame: Buffer): void;
  /** Passes a DATA frame on; its payload follows by `data`. */
  dataBegins(head: DataHead): void;
  /** An empty DATA frame that ends a stream. */
  end(streamId: number): void;
  data(bytes: Buffer, from: number, to: number): void;
  /** @param borrowed what `data` was given is overwritten once this returns @returns false to wait for 'drain' */
  flush(borrowed: boolean): boolean;
  /** True: frames of our own should not be provoked for now. */
  readonly full: boolean;
  /** A DATA frame is under way. */
  readonly isAmidst: boolean;
}

/** Makes the writer of a socket. */
export function frameWriter(socket: Socket): FrameWriter {
  const out = outbox(socket);
  let dataLeft = 0;
  let held: Buffer[] = [];
  let size = 0;

  function whole(bytes: Buffer): void {
    out.bytes(bytes, 0, bytes.length);
    size += bytes.length;
  }

  return {
    frame(frame) {
      if (dataLeft > 0) held.push(frame);
      else whole(frame);
    },
    dataBegins({ flags, streamId, length, bytes, at }) {
      const known = flags & (frameFlag.endStream | frameFlag.padded);
      // What we look past, the next one shall not see.
      const isPlain = known === flags && bytes.readUInt32BE(at + 5) === streamId;
      if (isPlain) out.bytes(bytes, at, at + frameHeadBytes);
      else out.bytes(dataHead(known, streamId, length), 0, frameHeadBytes);
      size += frameHeadBytes;
      dataLeft = length;
    },
    end(streamId) {
      this.frame(frameOf(frameType.data, frameFlag.endStream, streamId));
    },
    data(bytes, from, to) {
      out.bytes(bytes, from, to);
      size += to - from;
      dataLeft -= to - from;
      if (dataLeft > 0 || held.length === 0) return;
      for (const frame of held) whole(frame);
      held = [];
    },
    flush(borrowed) {
      size = 0;
      return out.flush(borrowed);
    },
    get isAmidst() { return dataLeft > 0; },
    get full() { return socket.writableNeedDrain || size > maxGatheredBytes || held.length > maxHeld; },
  };
}

function dataHead(flags: number, streamId: number, length: number): Buffer {
  const head = Buffer.allocUnsafe(frameHeadBytes);
  writeFrameHead(head, 0, length, frameType.data, flags, streamId);
  return head;
}

/** One answer to a chunk of small frames may be many times as large. */
const maxGatheredBytes = 256 * 1024;
/** Frames of our own that wait for the end of another; each is a few bytes. */
const maxHeld = 1000;
