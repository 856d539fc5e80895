import { frameFlag, frameType, Http2Error } from "./frames.ts";

/** A whole header block. */
export interface HeaderBlock {
  readonly streamId: number;
  readonly endsStream: boolean;
  readonly block: Buffer;
}

/** Puts header blocks together from HEADERS and CONTINUATION. */
export interface HeaderBlocks {
  /** Looks at each frame but DATA. @returns a block that is whole now, `"taken"`: not whole yet, undefined: not of a block @throws {Http2Error} */
  take(type: number, flags: number, streamId: number, payload: Buffer): HeaderBlock | "taken" | undefined;
  /** Nothing but its CONTINUATION may follow. */
  readonly unfinished: boolean;
}

/** @source RFC 9113 sections 6.2, 6.10 and 10.5.1 */
export function headerBlocks(): HeaderBlocks {
  let begun: { readonly streamId: number; readonly endsStream: boolean; readonly pieces: Buffer[]; size: number } | undefined;

  function fragmentOf(flags: number, payload: Buffer): Buffer {
    let [from, to] = [0, payload.length];
    if ((flags & frameFlag.padded) !== 0) {
      to -= payload[0] ?? 0;
      from += 1;
    }
    if ((flags & frameFlag.priority) !== 0) from += priorityBytes;
    if (from > to) throw new Http2Error("protocolError", "HEADERS shorter than what it says of itself");
    return payload.subarray(from, to);
  }

  return {
    take(type, flags, streamId, payload) {
      const isContinuation = type === frameType.continuation;
      if (isContinuation !== (begun !== undefined) || (begun !== undefined && begun.streamId !== streamId)) {
        if (begun !== undefined || isContinuation) throw new Http2Error("protocolError", "a header block is interrupted, or continued that has not begun");
      }
      if (!isContinuation && type !== frameType.headers) return undefined;
      const fragment = isContinuation ? payload : fragmentOf(flags, payload);
      const endsBlock = (flags & frameFlag.endHeaders) !== 0;
      if (begun === undefined) {
        const endsStream = (flags & frameFlag.endStream) !== 0;
        if (endsBlock) return { streamId, endsStream, block: fragment };
        begun = { streamId, endsStream, pieces: [], size: 0 };
      }
      begun.size += fragment.length;
      if (begun.size > maxBlockBytes || begun.pieces.length >= maxPieces) throw new Http2Error("enhanceYourCalm", "a header block that does not end");
      // The payload is overwritten once this returns.
      begun.pieces.push(Buffer.from(fragment));
      if (!endsBlock) return "taken";
      const { endsStream, pieces } = begun;
      begun = undefined;
      return { streamId, endsStream, block: Buffer.concat(pieces) };
    },
    get unfinished() { return begun !== undefined; },
  };
}

const priorityBytes = 5;
/** Compressed; what it holds is bounded apart. Beyond it the connection ends, since no table can be kept without reading it. */
const maxBlockBytes = 64 * 1024;
/** Four would do for the largest block. */
const maxPieces = 16;
