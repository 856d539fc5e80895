/** Types of frames. @source RFC 9113 section 6 */
export const frameType = {
  data: 0, headers: 1, priority: 2, rstStream: 3, settings: 4, pushPromise: 5, ping: 6, goaway: 7, windowUpdate: 8, continuation: 9,
} as const;

export const frameFlag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

/** @source RFC 9113 section 7 */
const errorCodes = {
  noError: 0, protocolError: 1, internalError: 2, flowControlError: 3, streamClosed: 5, frameSizeError: 6, refusedStream: 7, cancel: 8,
  compressionError: 9, enhanceYourCalm: 11, inadequateSecurity: 12,
} as const;

export type Http2ErrorCode = keyof typeof errorCodes;

/** An endpoint broke the rules of the connection: it is told by GOAWAY and the connection ends. */
export class Http2Error extends Error {
  override readonly name = "Http2Error";
  readonly code: Http2ErrorCode;

  constructor(code: Http2ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** What a client sends first. @source RFC 9113 section 3.4 */
export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
export const frameHeadBytes = 9;
/** What every endpoint takes; nobody is told of more, so nobody may send more. @source RFC 9113 section 4.2 */
export const maxFrameBytes = 16_384;
export const maxStreamId = 0x7fff_ffff;

/** Writes the head of a frame. @returns where its payload begins */
export function writeFrameHead(to: Buffer, at: number, length: number, type: number, flags: number, streamId: number): number {
  to.writeUIntBE(length, at, 3);
  to[at + 3] = type;
  to[at + 4] = flags;
  to.writeUInt32BE(streamId, at + 5);
  return at + frameHeadBytes;
}

/** A frame with this payload. */
export function frameOf(type: number, flags: number, streamId: number, payload: Uint8Array = nothing): Buffer {
  const frame = Buffer.allocUnsafe(frameHeadBytes + payload.length);
  frame.set(payload, writeFrameHead(frame, 0, payload.length, type, flags, streamId));
  return frame;
}

/** RST_STREAM. @source RFC 9113 6.4 */
export function resetFrame(streamId: number, code: Http2ErrorCode): Buffer {
  return numberFrame(frameType.rstStream, streamId, errorCodes[code]);
}

/** WINDOW_UPDATE. @source RFC 9113 6.9 */
export function windowUpdateFrame(streamId: number, increment: number): Buffer {
  return numberFrame(frameType.windowUpdate, streamId, increment);
}

/** @param reason for whoever debugs the other side */
export function goawayFrame(lastStreamId: number, code: Http2ErrorCode, reason = ""): Buffer {
  const payload = Buffer.alloc(8 + reason.length);
  payload.writeUInt32BE(lastStreamId, 0);
  payload.writeUInt32BE(errorCodes[code], 4);
  payload.write(reason, 8, "latin1");
  return frameOf(frameType.goaway, 0, 0, payload);
}

/** HEADERS, and CONTINUATION for what does not fit. */
export function headersFrames(streamId: number, block: Buffer, endsStream: boolean): Buffer {
  const frames: Buffer[] = [];
  for (let at = 0; at === 0 || at < block.length; at += maxFrameBytes) {
    const piece = block.subarray(at, at + maxFrameBytes);
    const flags = (at === 0 && endsStream ? frameFlag.endStream : 0) | (at + piece.length === block.length ? frameFlag.endHeaders : 0);
    frames.push(frameOf(at === 0 ? frameType.headers : frameType.continuation, flags, streamId, piece));
  }
  return frames.length === 1 ? frames[0]! : Buffer.concat(frames);
}

function numberFrame(type: number, streamId: number, value: number): Buffer {
  const frame = Buffer.allocUnsafe(frameHeadBytes + 4);
  frame.writeUInt32BE(value, writeFrameHead(frame, 0, 4, type, 0, streamId));
  return frame;
}

const nothing = Buffer.alloc(0);
