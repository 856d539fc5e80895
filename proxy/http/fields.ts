/** A section of header or trailer fields, left where it was read: nothing is copied before it is needed. */
export interface Fields {
  readonly bytes: Buffer;
  /** Where the first field begins. */
  readonly start: number;
  /** Behind the last field's CRLF. */
  readonly end: number;
  readonly count: number;
  /** `markSize` numbers for each field that is more than `ordinary`: its kind, where it starts, where its value starts and ends, where its line ends. */
  readonly marks: readonly number[];
}

/** What a field is to a proxy; everything else is `ordinary`. */
export const fieldKind = {
  ordinary: 0, hopByHop: 1, host: 2, contentLength: 3, transferEncoding: 4, connection: 5, upgrade: 6, trailer: 7, clientId: 8, expect: 9,
  /** A field that frames a message, spelled so that only some servers take it for one (`Content_Length`). */
  disguised: 10,
} as const;

export const markSize = 5;

/** Carries the verified identity of the client to the app. Whatever else came under this name is removed. */
export const clientIdHeader = "countersign-client-id";

/**
 * Reads fields strictly: a token, a colon, printable bytes, CRLF. No folding, no blank before the colon, no bare CR or LF, no NUL.
 * @param bytes holds the fields from `start` on and, at `end`, the empty line that ends them
 * @returns     undefined if they are malformed
 * @source      RFC 9112 section 5
 */
export function parseFields(bytes: Buffer, start: number, end: number): Fields | undefined {
  const marks: number[] = [];
  let count = 0;
  let at = start;
  while (at < end) {
    const nameStart = at;
    while ((byteClass[bytes[at]!]! & tokenByte) !== 0) at++;
    const nameEnd = at;
    if (nameEnd === nameStart || bytes[at] !== colon) return undefined;
    do at++; while (bytes[at] === space || bytes[at] === tab);
    const valueStart = at;
    while ((byteClass[bytes[at]!]! & valueByte) !== 0) at++;
    if (at >= end || bytes[at] !== cr || bytes[at + 1] !== lf) return undefined;
    const kind = kindOf(bytes, nameStart, nameEnd);
    if (kind !== fieldKind.ordinary) {
      let valueEnd = at;
      while (valueEnd > valueStart && (bytes[valueEnd - 1] === space || bytes[valueEnd - 1] === tab)) valueEnd--;
      marks.push(kind, nameStart, valueStart, valueEnd, at + 2);
    }
    at += 2;
    count++;
  }
  return { bytes, start, end, count, marks };
}

/** Value of the field whose marks begin at `index`, without the blanks around it. */
export function valueAt({ bytes, marks }: Fields, index: number): string {
  return bytes.toString("latin1", marks[index + 2], marks[index + 3]);
}

/** Whether this value is `word`, in any case. @param word lower case */
export function valueIs({ bytes, marks }: Fields, index: number, word: Uint8Array): boolean {
  const from = marks[index + 2]!;
  if (marks[index + 3]! - from !== word.length) return false;
  for (let at = 0; at < word.length; at++) if (lowered[bytes[from + at]!] !== word[at]) return false;
  return true;
}

/** Every field in its order: name in lower case, start and end of its line. For what is rare. */
export function linesOf({ bytes, start, end }: Fields): { readonly name: string; readonly from: number; readonly to: number }[] {
  const lines = [];
  for (let from = start; from < end;) {
    const to = bytes.indexOf(lf, from) + 1;
    lines.push({ name: bytes.toString("latin1", from, bytes.indexOf(colon, from)).toLowerCase(), from, to });
    from = to;
  }
  return lines;
}

/** What a field of this name is to a proxy, however it is spelled. */
export function kindOfName(name: string): number {
  if (knownByLength[name.length] === undefined) return fieldKind.ordinary;
  return kindOf(Buffer.from(name, "latin1"), 0, name.length);
}

/** Whether a byte may stand in a token. @source RFC 9110 section 5.6.2 */
export const isTokenByte = (byte: number): boolean => (byteClass[byte]! & tokenByte) !== 0;
/** Whether a byte may stand in a field value or a reason phrase: printable, blank, tab or above ASCII. */
export const isValueByte = (byte: number): boolean => (byteClass[byte]! & valueByte) !== 0;
/** Whether a byte may stand in a request target: ASCII alone, since some servers take 0xa0 for a blank. */
export const isTargetByte = (byte: number): boolean => (byteClass[byte]! & targetByte) !== 0;
/** Whether a byte may stand in a host and port. @source RFC 3986 section 3.2 */
export const isHostByte = (byte: number): boolean => (byteClass[byte]! & hostByte) !== 0;

function kindOf(bytes: Uint8Array, start: number, end: number): number {
  const candidates = knownByLength[end - start];
  if (candidates === undefined) return fieldKind.ordinary;
  for (const { name, kind } of candidates) {
    if (!soundsLike(bytes, start, name)) continue;
    // CGI-like servers turn every character that is not a letter or digit into the same underscore.
    if (kind === fieldKind.clientId || isSpelled(bytes, start, name)) return kind;
    return kind === fieldKind.contentLength || kind === fieldKind.transferEncoding ? fieldKind.disguised : fieldKind.ordinary;
  }
  return fieldKind.ordinary;
}

function soundsLike(bytes: Uint8Array, start: number, name: Uint8Array): boolean {
  for (let index = 0; index < name.length; index++) if (heard[bytes[start + index]!] !== name[index]) return false;
  return true;
}

/** Letters are known to fit; what sounded like a hyphen has to be one. */
function isSpelled(bytes: Uint8Array, start: number, name: Uint8Array): boolean {
  for (let index = 0; index < name.length; index++) if (name[index] === hyphen && bytes[start + index] !== hyphen) return false;
  return true;
}

const [tab, lf, cr, space, hyphen, colon] = [9, 10, 13, 32, 45, 58];
const [tokenByte, valueByte, targetByte, hostByte] = [1, 2, 4, 8];
const byteClass = Uint8Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  return (/[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(character) ? tokenByte : 0) |
    (/[\t\x20-\x7e\x80-\xff]/.test(character) ? valueByte : 0) |
    (/[\x21-\x7e]/.test(character) ? targetByte : 0) |
    (/[0-9A-Za-z._~%!$&'()*+;=:[\]-]/.test(character) ? hostByte : 0);
});
const lowered = Uint8Array.from({ length: 256 }, (_, byte) => (byte >= 65 && byte <= 90 ? byte + 32 : byte));
const heard = Uint8Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte).toLowerCase().replace(/[^a-z0-9]/, "-").charCodeAt(0));

/** @source RFC 9110 sections 7.6.1, 10.1.4 and 11.7 */
const hopByHopNames = [
  "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "proxy-authentication-info", "te", "http2-settings",
];
interface Known { readonly name: Uint8Array; readonly kind: number }
const knownByLength: (Known[] | undefined)[] = [];
for (const [text, kind] of [
  ...hopByHopNames.map((name) => [name, fieldKind.hopByHop] as const), ["host", fieldKind.host], ["content-length", fieldKind.contentLength],
  ["transfer-encoding", fieldKind.transferEncoding], ["connection", fieldKind.connection], ["upgrade", fieldKind.upgrade], ["trailer", fieldKind.trailer],
  [clientIdHeader, fieldKind.clientId], ["expect", fieldKind.expect],
] as const) {
  (knownByLength[text.length] ??= []).push({ name: Buffer.from(text), kind });
}
