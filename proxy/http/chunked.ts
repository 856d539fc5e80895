import { isValueByte, parseFields, type Fields } from "./fields.ts";
import { findHeadEnd, headIncomplete, maxFields, type HeadFault } from "./head.ts";

/** Where in a chunked body the reader is; only `readChunks` changes it. */
export interface ChunkedBody {
  state: "size" | "extension" | "size_lf" | "data" | "data_cr" | "data_lf" | "trailers" | "done";
  /** Of the size or of the chunk. */
  left: number;
  /** Digits of the size, then bytes of the line. */
  lineBytes: number;
  /** Trailers so far. */
  held: Buffer | undefined;
  /** Once the body is done; undefined where there are none. */
  trailers: Fields | undefined;
}

/** A body of which nothing has been read yet. */
export function chunkedBody(): ChunkedBody {
  return { state: "size", left: 0, lineBytes: 0, held: undefined, trailers: undefined };
}

/**
 * Reads on in a chunked body: a size in plain hexadecimal, extensions (which end here), CRLF, exactly that many bytes, CRLF.
 * @param onData told of each run of data, as positions in `bytes`
 * @returns      the position behind what was read, which is the end of `bytes` unless the body is done; or a fault
 * @source       RFC 9112 section 7.1
 */
export function readChunks(body: ChunkedBody, bytes: Buffer, from: number, onData: (start: number, end: number) => void): number | HeadFault {
  let at = from;
  while (at < bytes.length && body.state !== "done") {
    if (body.state === "data") {
      const end = Math.min(bytes.length, at + body.left);
      onData(at, end);
      body.left -= end - at;
      at = end;
      if (body.left === 0) body.state = "data_cr";
      continue;
    }
    if (body.state === "trailers") {
      const end = readTrailers(body, bytes, at);
      if (typeof end === "string") return end;
      at = end;
      continue;
    }
    if (!step(body, bytes[at++]!)) return "malformed";
  }
  return at;
}

/** One byte of what stands between the data. @returns false if it may not stand there */
function step(body: ChunkedBody, byte: number): boolean {
  switch (body.state) {
    case "size": {
      const digit = hexadecimal[byte]!;
      if (digit < 16) {
        body.left = body.left * 16 + digit;
        return ++body.lineBytes <= maxSizeDigits;
      }
      if (body.lineBytes === 0) return false;
      body.state = byte === cr ? "size_lf" : "extension";
      return byte === cr || byte === semicolon;
    }
    case "extension":
      if (byte === cr) body.state = "size_lf";
      return byte === cr || (isValueByte(byte) && ++body.lineBytes <= maxLineBytes);
    case "size_lf":
      body.state = body.left === 0 ? "trailers" : "data";
      body.lineBytes = 0;
      return byte === lf;
    case "data_cr":
      body.state = "data_lf";
      return byte === cr;
    case "data_lf":
      body.state = "size";
      return byte === lf;
    default:
      return false;
  }
}

function readTrailers(body: ChunkedBody, bytes: Buffer, at: number): number | HeadFault {
  if (body.held === undefined && bytes[at] === cr && bytes[at + 1] === lf) {
    body.state = "done";
    return at + 2;
  }
  const before = body.held ?? lineEnd;
  body.held = Buffer.concat([before, bytes.subarray(at)]);
  // Behind a line end the trailers end as a head does, also where there are none.
  const end = findHeadEnd(body.held, 0, before === lineEnd ? 1 : before.length);
  if (typeof end === "string") return end;
  if (end === headIncomplete) return bytes.length;
  const trailers = parseFields(body.held, lineEnd.length, end - 2);
  if (trailers === undefined) return "malformed";
  if (trailers.count > maxFields) return "too_many_fields";
  if (trailers.count > 0) body.trailers = trailers;
  body.state = "done";
  return at + end - before.length;
}

const [lf, cr, semicolon] = [10, 13, 59];
const lineEnd = Buffer.from("\r\n");
/** Values of digits; 16 where there is none. */
const hexadecimal = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = "0123456789abcdef".indexOf(String.fromCharCode(byte).toLowerCase());
  return digit < 0 ? 16 : digit;
});
/** 256 TiB; what is longer overflows somewhere. */
const maxSizeDigits = 12;
/** Signed chunks of object stores take 85 bytes. */
const maxLineBytes = 1024;
