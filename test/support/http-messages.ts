import { chunkedBody, readChunks } from "../../proxy/http/chunked.ts";
import type { Fields } from "../../proxy/http/fields.ts";
import type { Pieces } from "../../proxy/http/forwarded.ts";
import { findHeadEnd, headIncomplete, parseRequestHead, parseResponseHead, type HeadFault, type RequestHead, type ResponseHead } from "../../proxy/http/head.ts";

/** A message as the parsers understand it. */
export interface ReadMessage<Head> {
  readonly head: Head;
  readonly body: string;
  readonly trailers: Fields | undefined;
  /** Bytes that belong to no message or the next one. */
  readonly rest: string;
}

export type Understood<Head> = ReadMessage<Head> | HeadFault | "incomplete";

/** Reads a request from bytes that come in pieces. */
export const readRequest = (pieces: readonly Buffer[]): Understood<RequestHead> => readMessage(pieces, parseRequestHead);

/** Reads a response to a GET, or to HEAD. */
export const readResponse = (pieces: readonly Buffer[], toHead = false): Understood<ResponseHead> => (
  readMessage(pieces, (bytes, from, to) => parseResponseHead(bytes, from, to, toHead))
);

/** All there is to say about a message, to be compared: heads say where in their own bytes they are. */
export function summary(understood: Understood<RequestHead | ResponseHead>): unknown {
  if (typeof understood === "string") return understood;
  const { head: { bytes, from, start, end, marks, count, ...head }, body, trailers, rest } = understood;
  return { ...head, reasonStart: undefined, text: bytes.toString("latin1", from, end), count, body, trailers: trailers && textOf(trailers), rest };
}

export const textOf = ({ bytes, start, end }: Fields): string => bytes.toString("latin1", start, end);

/** What a writer of messages writes, as text. */
export function written(write: (out: Pieces) => void): string {
  let all = "";
  write({ text: (text) => void (all += text), bytes: (bytes, from, to) => void (all += bytes.toString("latin1", from, to)) });
  return all;
}

/** `bytes` cut at these positions. */
export function cut(bytes: Buffer, ...at: readonly number[]): Buffer[] {
  const edges = [0, ...at, bytes.length];
  return edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge));
}

function readMessage<Head extends RequestHead | ResponseHead>(pieces: readonly Buffer[], parse: (bytes: Buffer, from: number, to: number) => Head | HeadFault): Understood<Head> {
  let bytes: Buffer = Buffer.alloc(0);
  let scanned = 0;
  let head: Head | undefined;
  const chunks = chunkedBody();
  let body = "";
  for (const piece of pieces) {
    bytes = Buffer.concat([bytes, piece]);
    if (head === undefined) {
      const end = findHeadEnd(bytes, 0, scanned);
      scanned = bytes.length;
      if (typeof end === "string") return end;
      if (end === headIncomplete) continue;
      const parsed = parse(bytes, 0, end);
      if (typeof parsed === "string") return parsed;
      head = parsed;
      bytes = bytes.subarray(end);
    }
    if (head.framing === "chunked") {
      const end = readChunks(chunks, bytes, 0, (from, to) => (body += bytes.toString("latin1", from, to)));
      if (typeof end === "string") return end;
      bytes = bytes.subarray(end);
    } else {
      const length = head.framing === "length" ? Math.min(bytes.length, head.length - body.length) : head.framing === "close" ? bytes.length : 0;
      body += bytes.toString("latin1", 0, length);
      bytes = bytes.subarray(length);
    }
  }
  if (head === undefined || (head.framing === "chunked" && chunks.state !== "done") || (head.framing === "length" && body.length < head.length)) return "incomplete";
  return { head, body, trailers: chunks.trailers, rest: bytes.toString("latin1") };
}
