/** What the first bytes of a client say; "undecided" means: read on. */
export type Detection = "http" | "tcp" | "undecided";

/**
 * Tells HTTP/1 from everything else by the request line, which must be complete. The line is read as generously as any server
 * might (blank lines before it, any method in any case, bare LF), because what passes as opaque keeps a forged identity header;
 * the parser that follows is the strict one. HTTP/2 counts as opaque for now, so an app that trusts the header and speaks
 * HTTP/2 must be declared `http`.
 * @source RFC 9112 sections 2.2 and 3
 */
export function detectProtocol(bytes: Uint8Array): Detection {
  let start = 0;
  while (start < bytes.length && (bytes[start] === carriageReturn || bytes[start] === lineFeed)) start++;
  const end = bytes.indexOf(lineFeed, start);
  const line = bytes.subarray(start, end < 0 ? bytes.length : end);
  for (let index = 0; index < line.length && !isWhitespace(line[index]!); index++) {
    if (isTokenByte[line[index]!] !== 1 || index >= maxMethodLength) return "tcp";
  }
  // A line too long for the strict parser: let it be the one to refuse, since some servers take lines of a mebibyte.
  if (end < 0) return bytes.length < maxDetectBytes ? "undecided" : "http";
  const text = Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString("latin1");
  return requestLine.test(text) ? "http" : "tcp";
}

/** Space, tab, vertical tab, form feed and bare CR: all that RFC 9112 section 3 lets a lenient parser take as a delimiter. */
function isWhitespace(byte: number): boolean {
  return byte === space || byte === 0x09 || byte === 0x0b || byte === 0x0c || byte === carriageReturn;
}

/** The HTTP/2 preface is a request line with version 2.0. */
const requestLine = /^\S+\s[^]*HTTP\/1\.\d\s*$/i;
const carriageReturn = 0x0d;
const lineFeed = 0x0a;
const space = 0x20;
/** RFC 9110 5.6.2. */
const isTokenByte = new Uint8Array(256);
for (const character of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") isTokenByte[character.charCodeAt(0)] = 1;
/** The longest registered method, UPDATEREDIRECTREF, has 17. */
const maxMethodLength = 64;
/** As large as a whole head may be. */
const maxDetectBytes = 16 * 1024;
