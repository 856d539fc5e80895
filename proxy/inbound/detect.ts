import { firstLine } from "./first-line.ts";

/** What the first bytes of a client say; "undecided" means: read on. The last one leads HTTP past us and must not pass at all. */
export type Detection = "http" | "tcp" | "undecided" | "http2" | "proxy_preamble";

/**
 * Tells what some HTTP/1 server might take for a request from everything else, by the first line. What passes as opaque keeps a
 * forged identity header, so the line is read more generously than by any server known to us; the parser that follows is strict
 * and refuses what is not quite HTTP. Opaque before the line is whole is only what has a control byte in the method, or behind a
 * first word without a letter (LDAP, whose second byte can be a blank); its end is looked at all the same (`first-line.ts`).
 * @param ended no more bytes will come
 * @source RFC 9112 sections 2.2 and 3
 */
export function detectProtocol(bytes: Uint8Array, ended = false): Detection {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  if (text.startsWith(proxyVersion2)) return "proxy_preamble";
  const start = text.search(notBlank);
  if (start < 0 && ended) return "tcp";
  if (start < 0) return text.length < maxDetectBytes ? "undecided" : "http";
  const end = text.indexOf("\n", start);
  const line = text.slice(start, end < 0 ? undefined : end);
  if (controlInMethod.test(line)) return firstLine()(bytes) === "request" ? "http" : "tcp";
  // A line too long for the strict parser: let it be the one to refuse, since some servers take lines of a mebibyte.
  if (end < 0 && !ended) return text.length < maxDetectBytes ? "undecided" : "http";
  if (text.startsWith(http2Preface)) return "http2";
  if (proxyVersion1.test(line)) return "proxy_preamble";
  return couldBeRequest.some((pattern) => pattern.test(line)) ? "http" : "tcp";
}

/**
 * Whether these bytes, the last of `length`, can end an "undecided": only a line end, a control byte or the limit does. Spares a
 * client that sends byte by byte a look at the whole line for each.
 */
export function mayDecide(bytes: Uint8Array, length: number): boolean {
  return length >= maxDetectBytes || bytes.some((byte) => byte < 0x20 || byte === 0x7f);
}

/**
 * Tells what a server that has spoken before its client did not want to: one of HTTP/1 gave up on a client that had nothing to ask
 * yet, one of HTTP/2 says its SETTINGS as soon as it is connected. Neither client waits for that, so this one gets no opaque way in.
 */
export function detectServer(said: Uint8Array): "http" | "tcp" | "undecided" {
  const [some, whole] = [(byte: number, at: number) => byte === httpAnswer[at], said.length >= httpAnswer.length];
  if (said.subarray(0, httpAnswer.length).every(some)) return whole ? "http" : "undecided";
  const head = said.subarray(0, settingsHead.length);
  if (!head.every((byte, at) => settingsHead[at] === undefined || byte === settingsHead[at])) return "tcp";
  return head.length === settingsHead.length ? "http" : "undecided";
}

/** What Python's `str.split` takes for white space in Latin-1, which is all that RFC 9112 allows a lenient parser and more. */
const blank = String.raw`\t-\r\x1c-\x20\x85\xa0`;
const notBlank = new RegExp(`[^${blank}]`);
const control = String.raw`\0-\x08\x0e-\x1b\x7f`;
const controlInMethod = new RegExp(`^(?:[^${blank}]*|[^${blank}A-Za-z]+[${blank}][^]*)[${control}]`);
const couldBeRequest: readonly RegExp[] = [
  // Node's parser takes RTSP and ICE for HTTP, older Pythons HTTP/+1.1.
  /(?:HTTP|RTSP|ICE)\//i,
  // Apache 2.2 took any version for 1.0, and a line without one is HTTP/0.9, behind which Python reads headers.
  new RegExp(`^[^${blank}]+[${blank}]+(?:/|[a-z][a-z0-9+.-]*://)`, "i"),
  // The only method of HTTP/0.9, upper case; Python takes any path.
  new RegExp(`^GET[${blank}]`),
];
/** A server that expects this preamble reads HTTP behind it. @source haproxy.org proxy-protocol.txt, sections 2.1 and 2.2 */
const proxyVersion1 = new RegExp(`^PROXY[${blank}]`);
const proxyVersion2 = "\r\n\r\n\0";
/** @source RFC 9113 section 3.4 */
const http2Preface = "PRI * HTTP/2.0\r\n";
const httpAnswer = Buffer.from("HTTP/", "latin1");
/** Of a frame on no stream that is no acknowledgement, of any length up to 64 KiB. @source RFC 9113 section 6.5 */
const settingsHead: readonly (number | undefined)[] = [0, undefined, undefined, 4, 0, 0, 0, 0, 0];
/** As large as a whole head may be. */
const maxDetectBytes = 16 * 1024;
