import { fieldKind, linesOf, markSize, type Fields } from "./fields.ts";
import type { Framing, Head, RequestHead, ResponseHead } from "./head.ts";

/** Where a message is written to, piece by piece. */
export interface Pieces {
  /** Latin-1. */
  text(text: string): void;
  bytes(bytes: Buffer, from: number, to: number): void;
}

/** What the way of a request changes about it. */
export interface RequestChanges {
  /** In origin form, or `*`. */
  readonly path: string;
  /** Set instead of what the client named; undefined leaves it. */
  readonly host: string | undefined;
  /** Whole lines that are added, the identity among them. */
  readonly addedLines: Buffer;
}

/** Writes the head of a request as it goes to the next hop: always HTTP/1.1, delimited anew. */
export function writeRequestHead(out: Pieces, head: RequestHead, { path, host, addedLines }: RequestChanges): void {
  const { method, framing, upgrade } = head;
  const same = path === head.target && head.minor === 1;
  if (!same) out.text(`${method} ${path} HTTP/1.1\r\n`);
  writeEndToEnd(out, head, same ? head.from : head.start, host === undefined, true, framing === "chunked");
  if (host !== undefined) out.text(`host: ${host}\r\n`);
  out.bytes(addedLines, 0, addedLines.length);
  if (framing === "chunked") out.text(chunkedLine);
  // For these methods no body is said by a length of 0 (RFC 9110 8.6).
  else if (framing === "none" && !bodilessMethods.has(method)) out.text("content-length: 0\r\n");
  if (upgrade) out.text(upgradeLines);
  out.bytes(lineEnd, 0, lineEnd.length);
}

/**
 * Writes the head of a response as it goes to the client: always HTTP/1.1.
 * @param framing    how its body is delimited here
 * @param connection what the client is told about the connection; undefined says nothing
 */
export function writeResponseHead(out: Pieces, head: ResponseHead, framing: Framing, connection: "close" | "keep-alive" | undefined): void {
  const { bytes, status, reasonStart } = head;
  // RFC 9110 8.6: neither has a length; a client that believed one would wait for a body.
  const keepsLength = framing !== "chunked" && status >= 200 && status !== 204;
  const same = head.minor === 1 && bytes[reasonStart - 1] === space;
  if (!same) out.text(`HTTP/1.1 ${status} `);
  writeEndToEnd(out, head, same ? head.from : reasonStart, true, keepsLength, framing === "chunked");
  if (framing === "chunked") out.text(chunkedLine);
  if (status === 101) out.text(upgradeLines);
  else if (connection !== undefined) out.text(`connection: ${connection}\r\n`);
  out.bytes(lineEnd, 0, lineEnd.length);
}

/** Behind the data of a chunked body: the last chunk, the trailers that go on, the empty line. @source RFC 9110 section 6.5.1 */
export function writeLastChunk(out: Pieces, trailers: Fields | undefined): void {
  if (trailers === undefined) return out.text("0\r\n\r\n");
  out.text("0\r\n");
  for (const { name, from, to } of linesOf(trailers)) {
    if (!isMarked(trailers, from) && !notInTrailers.has(name)) out.bytes(trailers.bytes, from, to);
  }
  out.bytes(lineEnd, 0, lineEnd.length);
}

/**
 * Writes the fields that go on, as whole lines and byte by byte: without the hop-by-hop ones, those `Connection` names, and every
 * spelling of the identity header. What stands together is taken in one piece.
 * @param from where to begin: with the first field, or in the line before it
 * @source RFC 9110 section 7.6.1
 */
function writeEndToEnd(out: Pieces, head: Head, from: number, host: boolean, length: boolean, trailer: boolean): void {
  const { bytes, end, marks, named } = head;
  let start = from;
  if (named !== undefined) {
    for (const { name, from: lineStart, to } of linesOf(head)) {
      if (!named.has(name) || isMarked(head, lineStart)) continue;
      writeUnmarked(start, lineStart);
      start = to;
    }
  }
  writeUnmarked(start, end);

  function writeUnmarked(first: number, last: number): void {
    let at = first;
    for (let index = 0; index < marks.length; index += markSize) {
      const [kind, lineStart] = [marks[index]!, marks[index + 1]!];
      const kept = kind === fieldKind.host ? host : kind === fieldKind.contentLength ? length : kind === fieldKind.trailer ? trailer : kind === fieldKind.expect;
      if (kept || lineStart < first || lineStart >= last) continue;
      if (lineStart > at) out.bytes(bytes, at, lineStart);
      at = marks[index + 4]!;
    }
    if (last > at) out.bytes(bytes, at, last);
  }
}

/** Whether the field whose line begins here is more than ordinary. */
function isMarked({ marks }: Fields, lineStart: number): boolean {
  for (let index = 0; index < marks.length; index += markSize) if (marks[index + 1] === lineStart) return true;
  return false;
}

const space = 32;
const lineEnd = Buffer.from("\r\n");
const chunkedLine = "transfer-encoding: chunked\r\n";
const upgradeLines = "connection: upgrade\r\nupgrade: websocket\r\n";
const bodilessMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"]);
/** What frames, routes or authenticates a message has no place behind it; the rest of it is no ordinary field at all. */
const notInTrailers: ReadonlySet<string> = new Set(["authorization", "cookie", "set-cookie", "content-encoding", "content-type"]);
