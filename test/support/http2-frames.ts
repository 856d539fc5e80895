import type { Socket } from "node:net";

/** One frame, as wrong as a test wants it. @param length what it says of itself; default: the truth */
export function frame(type: number, flags: number, streamId: number, payload: Uint8Array | readonly number[] = [], length = payload.length): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, Buffer.from(payload)]);
}

export const flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8 } as const;
export const http2Preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
export const settings = (...pairs: readonly (readonly [id: number, value: number])[]): Buffer => (
  frame(4, 0, 0, Buffer.concat(pairs.map(([id, value]) => Buffer.from([0, id, value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255]))))
);
/** What a client says first. */
export const hello = Buffer.concat([http2Preface, settings()]);

/** A header block of literals that are not indexed. */
export function block(fields: readonly (readonly [name: string, value: string])[]): Buffer {
  return Buffer.concat(fields.map(([name, value]) => Buffer.concat([Buffer.from([0]), text(name), text(value)])));
}

export const get = [[":method", "GET"], [":scheme", "http"], [":path", "/"], [":authority", "world"]] as const;
export const post = [[":method", "POST"], ...get.slice(1)] as const;

/** HEADERS in one frame. */
export function headers(streamId: number, fields: readonly (readonly [name: string, value: string])[], endsStream = true): Buffer {
  return frame(1, flag.endHeaders | (endsStream ? flag.endStream : 0), streamId, block(fields));
}

export const data = (streamId: number, bytes: string | Uint8Array, endsStream = false): Buffer => (
  frame(0, endsStream ? flag.endStream : 0, streamId, typeof bytes === "string" ? Buffer.from(bytes) : bytes)
);
export const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};

/** A frame that came. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** Takes apart what has come; what is not whole is left out. */
export function framesOf(bytes: Buffer): readonly Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 9 <= bytes.length;) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    if (end > bytes.length) break;
    frames.push({ type: bytes[at + 3]!, flags: bytes[at + 4]!, streamId: bytes.readUInt32BE(at + 5), payload: bytes.subarray(at + 9, end) });
    at = end;
  }
  return frames;
}

/** Reads until a frame has come that fits, or the end. @returns all frames */
export async function readFrames(socket: Socket, until: (frame: Frame) => boolean): Promise<readonly Frame[]> {
  let bytes: Buffer = Buffer.alloc(0);
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off("data", onData).off("end", done).off("close", done);
      resolve(framesOf(bytes));
    };
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      if (framesOf(bytes).some(until)) done();
    };
    socket.on("data", onData).on("end", done).on("close", done);
  });
}

const text = (value: string): Buffer => Buffer.concat([integer(value.length), Buffer.from(value, "latin1")]);

function integer(value: number): Buffer {
  if (value < 127) return Buffer.from([value]);
  const bytes = [127];
  for (value -= 127; value >= 128; value = Math.floor(value / 128)) bytes.push((value & 127) | 128);
  return Buffer.from([...bytes, value]);
}
