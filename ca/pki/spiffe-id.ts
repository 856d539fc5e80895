import { PkiError, type PkiErrorCode } from "./errors.ts";

/** A valid SPIFFE ID. Only this file makes one, so whoever holds it need not check again. */
export interface SpiffeId {
  /** The whole ID, `spiffe://trust-domain/path`. Two IDs are equal exactly if their `uri` is. */
  readonly uri: string;
  /** Trust domain name, lower case, without scheme. */
  readonly trustDomain: string;
  /** "" (the ID of the trust domain itself) or "/a/b". */
  readonly path: string;
}

/** Which IDs a rule is about: one, or all those below a prefix. Made by `parseSpiffeIdPattern`. */
export interface SpiffeIdPattern {
  /** As written: `spiffe://td/ns/shop/sa/cart` or `spiffe://td/ns/shop/*`. */
  readonly text: string;
  /** Trust domain all matching IDs belong to. */
  readonly trustDomain: string;
  /** True if the pattern ends in `/*`. */
  readonly matchesBelow: boolean;
}

/**
 * Reads a SPIFFE ID. An upper-case scheme or host is refused rather than folded: one spelling for one identity.
 * @throws {PkiError} spiffe_id_malformed
 * @source SPIFFE-ID section 2
 */
export function parseSpiffeId(text: string): SpiffeId {
  const match = text.length <= maxSpiffeIdBytes ? spiffeIdForm.exec(text) : null;
  const [, trustDomain = "", path = ""] = match ?? [];
  if (match === null || trustDomain.length > maxTrustDomainBytes) {
    throw new PkiError("spiffe_id_malformed", `not a SPIFFE ID: ${faultOf(text)}`);
  }
  return { uri: text, trustDomain, path };
}

/**
 * Reads the name of a trust domain, as it stands between `spiffe://` and the path.
 * @throws {PkiError} trust_domain_malformed
 * @source SPIFFE-ID section 2.1
 */
export function parseTrustDomain(text: string): string {
  const fault = trustDomainFault(text);
  if (fault !== undefined) throw new PkiError("trust_domain_malformed", `not a trust domain name: ${fault}`);
  return text;
}

/** Whether a text is the name of a trust domain. @source SPIFFE-ID section 2.1 */
export function isTrustDomain(text: string): boolean {
  return trustDomainFault(text) === undefined;
}

/**
 * Builds an ID from its parts; `spiffeId("td")` is the ID of the trust domain itself.
 * @throws {PkiError} trust_domain_malformed | spiffe_id_malformed, also when a segment contains `/`
 */
export function spiffeId(trustDomain: string, ...segments: readonly string[]): SpiffeId {
  parseTrustDomain(trustDomain);
  for (const segment of segments) {
    const fault = segmentFault(segment);
    if (fault !== undefined) throw new PkiError("spiffe_id_malformed", `not a SPIFFE ID: ${fault}`);
  }
  return parseSpiffeId([`spiffe://${trustDomain}`, ...segments].join("/"));
}

/**
 * Reads a pattern: an exact ID, or an ID followed by `/*`. A star anywhere else is refused.
 * @throws {PkiError} spiffe_id_pattern_malformed
 */
export function parseSpiffeIdPattern(text: string): SpiffeIdPattern {
  const matchesBelow = text.endsWith("/*");
  try {
    const { trustDomain } = parseSpiffeId(matchesBelow ? text.slice(0, -2) : text);
    return { text, trustDomain, matchesBelow };
  } catch (cause) {
    const code: PkiErrorCode = "spiffe_id_pattern_malformed";
    const reason = cause instanceof PkiError ? cause.message : "unreadable";
    throw new PkiError(code, `a pattern is a SPIFFE ID, or one followed by "/*": ${reason}`, { cause });
  }
}

/**
 * True if the pattern names this ID. `spiffe://td/a/*` matches `spiffe://td/a/b` and `spiffe://td/a/b/c`, but neither
 * `spiffe://td/a` nor `spiffe://td/ab`; `spiffe://td/*` is every workload of the trust domain.
 */
export function matchesSpiffeIdPattern(pattern: SpiffeIdPattern, id: SpiffeId): boolean {
  // The prefix keeps its "/", so it ends at a segment and cannot reach into a longer trust domain name.
  return pattern.matchesBelow ? id.uri.startsWith(pattern.text.slice(0, -1)) : id.uri === pattern.text;
}

/** Says which rule a text breaks, for people; `parseSpiffeId` has decided already that one is broken. */
function faultOf(text: string): string {
  if (text.length > maxSpiffeIdBytes) return `longer than ${maxSpiffeIdBytes} bytes`;
  if (!text.startsWith("spiffe://")) return `it must begin with "spiffe://", in lower case`;
  const [trustDomain = "", ...segments] = text.slice("spiffe://".length).split("/");
  const fault = trustDomainFault(trustDomain) ?? segments.map(segmentFault).find((found) => found !== undefined);
  return fault ?? "it is not in the form spiffe://trust-domain/path";
}

function trustDomainFault(text: string): string | undefined {
  if (text === "") return "the trust domain is empty";
  if (text.length > maxTrustDomainBytes) return `the trust domain is longer than ${maxTrustDomainBytes} bytes`;
  if (!trustDomainForm.test(text)) return "a trust domain has only a-z, 0-9, dot, dash and underscore (no port, no user)";
  return undefined;
}

function segmentFault(segment: string): string | undefined {
  if (segment === "") return "the path has an empty segment or ends in a slash";
  if (segment === "." || segment === "..") return `the path has a "." or ".." segment`;
  if (!segmentForm.test(segment)) return "a path segment has only a-z, A-Z, 0-9, dot, dash and underscore";
  return undefined;
}

const spiffeIdForm = /^spiffe:\/\/([a-z0-9._-]+)((?:\/(?!\.{1,2}(?:\/|$))[a-zA-Z0-9._-]+)*)$/;
const trustDomainForm = /^[a-z0-9._-]+$/;
const segmentForm = /^[a-zA-Z0-9._-]+$/;
/** SPIFFE-ID section 2.3. All allowed characters are ASCII, so characters and bytes are the same count. */
const maxSpiffeIdBytes = 2048;
const maxTrustDomainBytes = 255;
