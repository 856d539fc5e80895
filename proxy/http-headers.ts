/** Carries the verified identity of the client to the app. Whatever else came under this name is removed. */
export const clientIdHeader = "countersign-client-id";

/**
 * The headers of a message that go on to the next hop, as a flat list of names and values: without the hop-by-hop ones, those
 * the `Connection` header names, and every spelling of the identity header.
 * @param rawHeaders  as `IncomingMessage.rawHeaders` has them
 * @param keepTrailer only a chunked message may announce trailers
 * @source RFC 9110 section 7.6.1
 */
export function endToEndHeaders(rawHeaders: readonly string[], keepTrailer = false): string[] {
  const named = connectionNamed(rawHeaders);
  const kept: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!;
    const lower = name.toLowerCase();
    if (hopByHop.has(lower) || isClientIdHeader(lower) || named?.has(lower) === true) continue;
    if (!keepTrailer && lower === "trailer") continue;
    kept.push(name, rawHeaders[index + 1]!);
  }
  return kept;
}

/**
 * True for each name an app could take for the identity header: CGI-like servers turn every character that is not a letter or
 * digit into the same underscore.
 */
export function isClientIdHeader(name: string): boolean {
  return name.length === clientIdHeader.length && name.toLowerCase().replaceAll(/[^a-z0-9]/g, "-") === clientIdHeader;
}

/** How the body of a request is delimited. */
export type RequestBody = "none" | "length" | "chunked";

/** A request whose body another server might delimit in another way: refused, not repaired. */
export type FramingFault = "transfer_coding_unsupported" | "transfer_coding_in_http_1_0" | "host_repeated" | "host_missing" | "version_unsupported";

/**
 * Says how a request's body is delimited. The parser before this has refused what is ambiguous in itself (both
 * Content-Length and Transfer-Encoding, two lengths, bare LF, obsolete folding).
 * @source RFC 9112 sections 3.2 and 6
 */
export function readFraming(rawHeaders: readonly string[], httpVersion: string): RequestBody | FramingFault {
  if (httpVersion !== "1.1" && httpVersion !== "1.0") return "version_unsupported";
  let body: RequestBody = "none";
  let hosts = 0;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!;
    // Comparing lengths first spares a lower-case copy of most names.
    if (name.length === 4 && name.toLowerCase() === "host") hosts++;
    else if (name.length === 14 && name.toLowerCase() === "content-length") body = "length";
    else if (name.length === 17 && name.toLowerCase() === "transfer-encoding") {
      if (httpVersion === "1.0") return "transfer_coding_in_http_1_0";
      if (body === "chunked" || rawHeaders[index + 1]!.trim().toLowerCase() !== "chunked") return "transfer_coding_unsupported";
      body = "chunked";
    }
  }
  if (hosts > 1) return "host_repeated";
  if (hosts === 0 && httpVersion !== "1.0") return "host_missing";
  return body;
}

/** Trailer fields that go on, as pairs. @source RFC 9110 section 6.5.1 */
export function endToEndTrailers(rawTrailers: readonly string[]): [string, string][] {
  const kept = endToEndHeaders(rawTrailers);
  const pairs: [string, string][] = [];
  for (let index = 0; index + 1 < kept.length; index += 2) {
    if (!notInTrailers.has(kept[index]!.toLowerCase())) pairs.push([kept[index]!, kept[index + 1]!]);
  }
  return pairs;
}

/** What `Connection` names, without the fields a sender must not be able to take out on the way. */
function connectionNamed(rawHeaders: readonly string[]): Set<string> | undefined {
  let named: Set<string> | undefined;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    if (rawHeaders[index]!.length !== 10 || rawHeaders[index]!.toLowerCase() !== "connection") continue;
    for (const part of rawHeaders[index + 1]!.split(",")) {
      const name = part.trim().toLowerCase();
      if (name !== "keep-alive" && name !== "close" && !notByConnection.has(name)) (named ??= new Set()).add(name);
    }
  }
  return named;
}

const hopByHop: ReadonlySet<string> = new Set([
  "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "proxy-authentication-info", "te",
  "transfer-encoding", "upgrade", "http2-settings",
]);
const notByConnection: ReadonlySet<string> = new Set(["host", "content-length"]);
/** RFC 9110 6.5.1: what frames, routes or authenticates a message has no place behind it. */
const notInTrailers: ReadonlySet<string> = new Set(["content-length", "host", "authorization", "cookie", "set-cookie", "trailer", "content-encoding", "content-type"]);
