import { fieldKind, lineEndAt, markSize, nameAt, type Fields } from "./fields.ts";
import type { Framing, Head, RequestHead, ResponseHead } from "./head.ts";

/** What the way of a request changes about it. */
export interface RequestChanges {
  /** In origin form, or `*`. */
  readonly path: string;
  /** Set instead of what the client named; undefined leaves it. */
  readonly host: string | undefined;
  /** Whole lines that are added, the identity among them. */
  readonly addedLines: string;
}

/** The head of a request as it goes to the next hop: always HTTP/1.1, delimited anew. */
export function forwardedRequest(head: RequestHead, { path, host, addedLines }: RequestChanges): string {
  const { method, framing, upgrade } = head;
  let text = `${method} ${path} HTTP/1.1\r\n${endToEndLines(head, host === undefined, true, framing === "chunked")}`;
  if (host !== undefined) text += `host: ${host}\r\n`;
  text += addedLines;
  if (framing === "chunked") text += chunkedLine;
  // For these methods no body is said by a length of 0 (RFC 9110 8.6).
  else if (framing === "none" && !bodilessMethods.has(method)) text += "content-length: 0\r\n";
  return upgrade ? `${text}${upgradeLines}\r\n` : `${text}\r\n`;
}

/**
 * The head of a response as it goes to the client: always HTTP/1.1.
 * @param framing    how its body is delimited here
 * @param connection what the client is told about the connection; undefined says nothing
 */
export function forwardedResponse(head: ResponseHead, framing: Framing, connection: "close" | "keep-alive" | undefined): string {
  const { status, reason } = head;
  // RFC 9110 8.6: neither has a length; a client that believed one would wait for a body.
  const keepsLength = framing !== "chunked" && status >= 200 && status !== 204;
  let text = `HTTP/1.1 ${status} ${reason}\r\n${endToEndLines(head, true, keepsLength, framing === "chunked")}`;
  if (framing === "chunked") text += chunkedLine;
  if (status === 101) text += upgradeLines;
  else if (connection !== undefined) text += `connection: ${connection}\r\n`;
  return `${text}\r\n`;
}

/** Behind the data of a chunked body: the last chunk, the trailers that go on, the empty line. @source RFC 9110 section 6.5.1 */
export function lastChunk(trailers: Fields | undefined): string {
  if (trailers === undefined) return "0\r\n\r\n";
  let lines = "";
  for (let index = 0; index < trailers.marks.length; index += markSize) {
    if (trailers.marks[index] !== fieldKind.ordinary || notInTrailers.has(nameAt(trailers, index))) continue;
    lines += trailers.text.slice(trailers.marks[index + 1], lineEndAt(trailers, index));
  }
  return `0\r\n${lines}\r\n`;
}

/**
 * The fields that go on, as whole lines and byte by byte: without the hop-by-hop ones, those `Connection` names, and every
 * spelling of the identity header. What stands together is taken in one piece.
 * @source RFC 9110 section 7.6.1
 */
function endToEndLines(head: Head, host: boolean, length: boolean, trailer: boolean): string {
  const { text, marks, end, named } = head;
  let lines = "";
  let start = head.fieldsStart;
  for (let index = 0; index < marks.length; index += markSize) {
    const kind = marks[index]!;
    const kept = kind === fieldKind.ordinary ? named === undefined || !named.has(nameAt(head, index))
      : kind === fieldKind.host ? host : kind === fieldKind.contentLength ? length : kind === fieldKind.trailer ? trailer : kind === fieldKind.expect;
    if (kept) continue;
    lines += text.slice(start, marks[index + 1]);
    start = lineEndAt(head, index);
  }
  return start === head.fieldsStart ? text.slice(start, end) : lines + text.slice(start, end);
}

const chunkedLine = "transfer-encoding: chunked\r\n";
const upgradeLines = "connection: upgrade\r\nupgrade: websocket\r\n";
const bodilessMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"]);
/** What frames, routes or authenticates a message has no place behind it; the rest of it is no ordinary field at all. */
const notInTrailers: ReadonlySet<string> = new Set(["authorization", "cookie", "set-cookie", "content-encoding", "content-type"]);
