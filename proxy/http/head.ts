import { fieldKind, isHostByte, isTargetByte, isTokenByte, isValueByte, markSize, parseFields, valueAt, valueIs, type Fields } from "./fields.ts";

/** How the body of a message is delimited. */
export type Framing = "none" | "length" | "chunked" | "close";

/** What requests and responses have in common. */
export interface Head extends Fields {
  /** Of version 1.x. */
  readonly minor: number;
  /** Where its start line begins in `bytes`. */
  readonly from: number;
  readonly framing: Framing;
  /** Of the body in bytes, where `framing` is "length"; else what Content-Length says, or 0. */
  readonly length: number;
  /** The sender wants another message on this connection. */
  readonly persistent: boolean;
  /** Fields that `Connection` names, lower case; undefined when there are none. */
  readonly named: ReadonlySet<string> | undefined;
}

export interface RequestHead extends Head {
  readonly framing: "none" | "length" | "chunked";
  readonly method: string;
  readonly target: string;
  /** Undefined where HTTP/1.0 has none. */
  readonly host: string | undefined;
  /** Asks to switch to WebSocket. Every other upgrade is ignored, as RFC 9110 7.8 allows. */
  readonly upgrade: boolean;
  /** Waits for 100 Continue before it sends its body. */
  readonly expectsContinue: boolean;
}

export interface ResponseHead extends Head {
  readonly status: number;
  /** Where the reason phrase begins in `bytes`; it ends with the line. */
  readonly reasonStart: number;
  /** Switches to WebSocket. */
  readonly upgrade: boolean;
}

/** Why a message is refused: two servers might read it differently, or nobody could. Never repaired. */
export type HeadFault =
  | "malformed"
  | "head_too_large"
  | "too_many_fields"
  | "target_too_long"
  | "version_unsupported"
  | "host_missing"
  | "host_repeated"
  | "host_malformed"
  | "length_malformed"
  | "length_repeated"
  | "length_and_transfer_coding"
  | "framing_disguised"
  | "transfer_coding_malformed"
  | "transfer_coding_unsupported"
  | "transfer_coding_in_http_1_0";

/** More bytes are needed. */
export const headIncomplete = -1;

/**
 * Finds the end of a head without understanding it, and stops at once at what no head may hold.
 * @param scanned how far an earlier call on the same bytes has got: what drips in is looked at once
 * @returns       the position behind the empty line, `headIncomplete`, or a fault
 */
export function findHeadEnd(bytes: Buffer, from: number, scanned: number): number | HeadFault {
  const end = emptyLineEnd(bytes, Math.max(from, scanned - 3));
  if (end >= 0 && end - from <= maxHeadBytes) return end;
  const limit = Math.min(bytes.length, from + maxHeadBytes);
  for (let at = Math.max(from, scanned - 1); at < limit; at++) {
    const byte = bytes[at]!;
    if (isValueByte(byte)) continue;
    // A CR at the very end may still get its LF.
    if (byte === cr ? at + 1 < bytes.length && bytes[at + 1] !== lf : byte !== lf || at === from || bytes[at - 1] !== cr) return "malformed";
  }
  return bytes.length - from > maxHeadBytes ? "head_too_large" : headIncomplete;
}

/** Looks at every fourth byte, which is one of the four if they are there: faster than a call of `indexOf` for heads as they come. */
function emptyLineEnd(bytes: Buffer, from: number): number {
  const { length } = bytes;
  for (let at = from + 3; at < length;) {
    const byte = bytes[at];
    if (byte === lf) {
      if (bytes[at - 1] === cr && bytes[at - 2] === lf && bytes[at - 3] === cr) return at + 1;
      // The LF of the first line, or of neither.
      at += 2;
    } else at += byte === cr ? 1 : 4;
  }
  return headIncomplete;
}

/**
 * Reads the head of a request.
 * @param to what `findHeadEnd` found
 * @source RFC 9112 sections 2 to 6
 */
export function parseRequestHead(bytes: Buffer, from: number, to: number): RequestHead | HeadFault {
  let at = from;
  while (isTokenByte(bytes[at]!)) at++;
  const methodEnd = at;
  if (at === from || bytes[at++] !== space) return "malformed";
  const targetStart = at;
  while (isTargetByte(bytes[at]!)) at++;
  const targetEnd = at;
  if (at === targetStart || bytes[at++] !== space) return "malformed";
  const version = versionAt(bytes, at);
  at += versionLength;
  if (version === undefined || bytes[at] !== cr || bytes[at + 1] !== lf) return "malformed";
  const fields = parseFields(bytes, at + 2, to - 2);
  if (fields === undefined) return "malformed";
  const method = methodAt(bytes, from, methodEnd);
  // The preface of HTTP/2, RFC 9113 3.4: not a request of any version.
  if (method === "PRI") return "malformed";
  if (version !== 0 && version !== 1) return "version_unsupported";
  if (targetEnd - targetStart > maxTargetBytes) return "target_too_long";
  const found = inspect(fields, version);
  if (typeof found === "string") return found;
  const { framing, host } = found;
  if (host === undefined && version === 1) return "host_missing";
  const { start, end, count, marks } = fields;
  return {
    bytes, from, start, end, count, marks, minor: version, method, target: bytes.toString("latin1", targetStart, targetEnd), host,
    // RFC 9112 6.3: a request without length has no body.
    framing: framing === "close" ? "none" : framing, length: found.length, named: found.named,
    persistent: version === 1 ? !found.closes : found.keepsAlive && !found.closes,
    upgrade: found.websocket && found.switches && version === 1, expectsContinue: found.expectsContinue && version === 1,
  };
}

/**
 * Reads the head of a response.
 * @param to     what `findHeadEnd` found
 * @param toHead the request was HEAD, so that no body follows whatever is said
 */
export function parseResponseHead(bytes: Buffer, from: number, to: number, toHead: boolean): ResponseHead | HeadFault {
  const version = versionAt(bytes, from);
  let at = from + versionLength;
  if (version === undefined || bytes[at] !== space) return "malformed";
  let status = 0;
  for (const end = at + 4; ++at < end;) {
    const digit = bytes[at]! - zero;
    if (!(digit >= 0 && digit <= 9)) return "malformed";
    status = status * 10 + digit;
  }
  // The blank is there even if the reason is not (RFC 9112 4), but not every server knows.
  if (bytes[at] === space) at++;
  else if (bytes[at] !== cr) return "malformed";
  const reasonStart = at;
  while (isValueByte(bytes[at]!)) at++;
  if (bytes[at] !== cr || bytes[at + 1] !== lf) return "malformed";
  const fields = parseFields(bytes, at + 2, to - 2);
  if (fields === undefined || status < 100) return "malformed";
  if (version !== 0 && version !== 1) return "version_unsupported";
  const found = inspect(fields, version);
  if (typeof found === "string") return found;
  const bodiless = toHead || status < 200 || status === 204 || status === 304;
  const { start, end, count, marks } = fields;
  return {
    bytes, from, start, end, count, marks, minor: version, status, reasonStart,
    upgrade: status === 101 && found.websocket && found.switches,
    framing: bodiless ? "none" : found.framing, length: found.length, named: found.named,
    // A 204 that announces a body has none (RFC 9112 6.3), but its server may send it, later than we would see it.
    persistent: (version === 1 ? !found.closes : found.keepsAlive && !found.closes) && (bodiless || found.framing !== "close") &&
      (status !== 204 || (found.framing !== "chunked" && found.length === 0)),
  };
}

/** One of the known strings where it is one: what compares and hashes them later has nothing to do. */
function methodAt(bytes: Buffer, from: number, to: number): string {
  for (const { method, spelling } of knownMethods) {
    if (to - from !== spelling.length) continue;
    let at = 0;
    while (at < spelling.length && bytes[from + at] === spelling[at]) at++;
    if (at === spelling.length) return method;
  }
  return bytes.toString("latin1", from, to);
}

/** Minor version of HTTP/1; 9 for a version we do not speak; undefined if there is none. */
function versionAt(bytes: Uint8Array, at: number): number | undefined {
  // "HTTP/"
  if (bytes[at] !== 72 || bytes[at + 1] !== 84 || bytes[at + 2] !== 84 || bytes[at + 3] !== 80 || bytes[at + 4] !== 47 || bytes[at + 6] !== 46) return undefined;
  const [major, minor] = [bytes[at + 5]! - zero, bytes[at + 7]! - zero];
  if (!(major >= 0 && major <= 9 && minor >= 0 && minor <= 9)) return undefined;
  return major === 1 && minor <= 1 ? minor : 9;
}

/** What the fields say about the message and its connection. */
interface Inspected {
  framing: "length" | "chunked" | "close";
  length: number;
  host: string | undefined;
  closes: boolean;
  keepsAlive: boolean;
  switches: boolean;
  websocket: boolean;
  expectsContinue: boolean;
  named: Set<string> | undefined;
}

function inspect(fields: Fields, minor: number): Inspected | HeadFault {
  const { bytes, marks } = fields;
  if (fields.count > maxFields) return "too_many_fields";
  const found: Inspected = {
    framing: "close", length: 0, host: undefined, closes: false, keepsAlive: false, switches: false, websocket: false, expectsContinue: false, named: undefined,
  };
  let lengths = 0;
  let codings = 0;
  for (let index = 0; index < marks.length; index += markSize) {
    const [kind, from, to] = [marks[index]!, marks[index + 2]!, marks[index + 3]!];
    if (kind === fieldKind.host) {
      if (found.host !== undefined) return "host_repeated";
      for (let at = from; at < to; at++) if (!isHostByte(bytes[at]!)) return "host_malformed";
      found.host = valueAt(fields, index);
    } else if (kind === fieldKind.contentLength) {
      if (++lengths > 1) return "length_repeated";
      if (to === from || to - from > maxLengthDigits) return "length_malformed";
      for (let at = from; at < to; at++) {
        const digit = bytes[at]! - zero;
        if (!(digit >= 0 && digit <= 9)) return "length_malformed";
        found.length = found.length * 10 + digit;
      }
    } else if (kind === fieldKind.transferEncoding) {
      if (++codings > 1) return "transfer_coding_malformed";
      if (!valueIs(fields, index, words.chunked)) return chunkedLast.test(valueAt(fields, index)) ? "transfer_coding_unsupported" : "transfer_coding_malformed";
    } else if (kind === fieldKind.connection) {
      if (valueIs(fields, index, words.keepAlive)) found.keepsAlive = true;
      else if (valueIs(fields, index, words.close)) found.closes = true;
      else readConnection(valueAt(fields, index).toLowerCase(), found);
    } else if (kind === fieldKind.upgrade) {
      found.websocket = valueIs(fields, index, words.websocket);
    } else if (kind === fieldKind.expect) {
      found.expectsContinue = valueIs(fields, index, words.hundredContinue);
    } else if (kind === fieldKind.disguised) return "framing_disguised";
  }
  if (codings > 0 && lengths > 0) return "length_and_transfer_coding";
  if (codings > 0 && minor === 0) return "transfer_coding_in_http_1_0";
  found.framing = codings > 0 ? "chunked" : lengths > 0 ? "length" : "close";
  return found;
}

/** What `Connection` names. Of that only ordinary fields are left out on the way: none that frames or routes the message. */
function readConnection(value: string, found: Inspected): void {
  for (const part of value.split(",")) {
    const name = part.trim();
    if (name === "close") found.closes = true;
    else if (name === "keep-alive") found.keepsAlive = true;
    else if (name === "upgrade") found.switches = true;
    else if (name !== "") (found.named ??= new Set()).add(name);
  }
}

const [lf, cr, space, zero] = [10, 13, 32, 48];
const knownMethods = ["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS"].map((method) => ({ method, spelling: Buffer.from(method) }));
const versionLength = 8;
const words = {
  chunked: Buffer.from("chunked"), keepAlive: Buffer.from("keep-alive"), close: Buffer.from("close"), websocket: Buffer.from("websocket"),
  hundredContinue: Buffer.from("100-continue"),
};
/** Up to a petabyte; a double holds it exactly. */
const maxLengthDigits = 15;
/** RFC 9112 6.3: the length is known only if chunked comes last, once. */
const chunkedLast = /^(?:(?!chunked\b)[!#$%&'*+.^_`|~0-9a-z-]+[ \t]*,[ \t]*)+chunked$/i;
/** What Node, nginx and Go's clients expect to be enough; one field may fill it. */
const maxHeadBytes = 16 * 1024;
/** nginx and Apache take 8 KiB in one line. */
const maxTargetBytes = 8 * 1024;
/** Of a head, and of trailers. Apache and haproxy take 100; browsers send 20. */
export const maxFields = 200;
