import { frameFlag, frameHeadBytes, frameType, Http2Error, maxFrameBytes } from "./frames.ts";

/** The head of a DATA frame. */
export interface DataHead {
  readonly flags: number;
  readonly streamId: number;
  /** Of its payload, padding included. */
  readonly length: number;
  /** Without padding. */
  readonly dataLength: number;
  /** Where it stands, valid until this turn ends. */
  readonly bytes: Buffer;
  readonly at: number;
}

/** Told of frames as they come. It may throw {Http2Error}. */
export interface FrameTaker {
  /** True: no further frame is handed over before `pump`. */
  blocked(): boolean;
  /** A whole frame that is not DATA. @param payload valid until this returns */
  frame(type: number, flags: number, streamId: number, payload: Buffer): void;
  /** The payload follows by `data`. */
  dataBegins(head: DataHead): void;
  /** Some of the payload, padding included; the last of it may come with none left. */
  data(bytes: Buffer, from: number, to: number): void;
}

export interface FrameReader {
  /** @param borrowed the bytes are overwritten once this returns */
  read(chunk: Buffer, borrowed: boolean): void;
  /** Goes on where it was blocked. */
  pump(): void;
  /** Bytes read and not understood yet. */
  readonly waiting: boolean;
}

/**
 * Takes a stream of bytes apart into frames. DATA is handed on as it comes, everything else whole.
 * @throws {Http2Error} frameSizeError | protocolError
 * @source RFC 9113 sections 4.1, 4.2 and 6.1
 */
export function frameReader(taker: FrameTaker): FrameReader {
  let pending: Buffer | undefined;
  /** Of the payload of the DATA frame under way. */
  let dataLeft = 0;

  /** @returns the position behind what was taken; the same: more is needed */
  function take(bytes: Buffer, at: number): number {
    if (dataLeft > 0) {
      const to = Math.min(bytes.length, at + dataLeft);
      dataLeft -= to - at;
      taker.data(bytes, at, to);
      return to;
    }
    if (bytes.length - at < frameHeadBytes) return at;
    const length = bytes.readUIntBE(at, 3);
    if (length > maxFrameBytes) throw new Http2Error("frameSizeError", `a frame of ${length} bytes; ${maxFrameBytes} are taken`);
    const [type, flags] = [bytes[at + 3]!, bytes[at + 4]!];
    const streamId = bytes.readUInt32BE(at + 5) & 0x7fff_ffff;
    const payload = at + frameHeadBytes;
    if (type !== frameType.data) {
      const end = payload + length;
      if (bytes.length < end) return at;
      taker.frame(type, flags, streamId, bytes.subarray(payload, end));
      return end;
    }
    let padding = 0;
    if ((flags & frameFlag.padded) !== 0) {
      if (length === 0) throw new Http2Error("frameSizeError", "a padded frame without room for its padding");
      if (bytes.length <= payload) return at;
      padding = 1 + bytes[payload]!;
      if (padding > length) throw new Http2Error("protocolError", "a frame whose padding is longer than itself");
    }
    dataLeft = length;
    taker.dataBegins({ flags, streamId, length, dataLength: length - padding, bytes, at });
    return payload;
  }

  function pump(): void {
    const bytes = pending;
    if (bytes === undefined) return;
    let at = 0;
    try {
      while (at < bytes.length && !taker.blocked()) {
        const to = take(bytes, at);
        if (to === at) break;
        at = to;
      }
    } finally {
      pending = at === bytes.length ? undefined : bytes.subarray(at);
    }
  }

  return {
    read(chunk, borrowed) {
      const before = pending;
      pending = before === undefined ? chunk : Buffer.concat([before, chunk]);
      pump();
      if (borrowed && before === undefined && pending !== undefined) pending = Buffer.from(pending);
    },
    pump,
    get waiting() { return pending !== undefined; },
  };
}
