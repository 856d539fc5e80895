/**
 * Takes a request target's path apart into decoded segments, if every server reads it the same way. What servers are known to read
 * differently is not guessed at: dot segments, encoded delimiters (also twice), backslashes, path parameters (`/admin;x`), empty
 * segments, control characters, broken escapes and UTF-8. A slash at the end says nothing: `/a/` is `/a`.
 * @param target  origin form, with or without a query
 * @returns       undefined for a path that one server may take for another
 * @source        RFC 3986 6.2.2; what proxies were got around with is collected in "Breaking Parser Logic" (O. Tsai, 2018)
 */
export function normalizePath(target: string): readonly string[] | undefined {
  if (target.length > maxTargetLength || !target.startsWith("/")) return undefined;
  const query = target.indexOf("?");
  const path = query < 0 ? target : target.slice(0, query);
  if (!plainCharacters.test(path)) return undefined;
  const raw = path.slice(1).split("/");
  if (raw.at(-1) === "") raw.pop();
  const segments: string[] = [];
  for (const each of raw) {
    const segment = decodeSegment(each);
    if (segment === undefined || segment === "" || segment === "." || segment === "..") return undefined;
    segments.push(segment);
  }
  return segments;
}

/** Which paths a rule is about; made by `parsePathPattern`. */
export interface PathPattern {
  /** Literal segments, and `*` for any one. */
  readonly segments: readonly string[];
  /** The same in lower case, for rules that deny. */
  readonly folded: readonly string[];
  /** It ends in `/*`: one segment or more follow. */
  readonly below: boolean;
}

/**
 * Reads a path pattern: `/`, or segments of which each is literal, decoded text or a star. A star stands for one whole segment, as the
 * last one for one or more; `/*` alone is every path, `/` too.
 * @returns undefined for a text that is none
 */
export function parsePathPattern(text: string): PathPattern | undefined {
  if (text === "/") return { segments: [], folded: [], below: false };
  if (text === "/*") return { segments: [], folded: [], below: true };
  if (text.length > maxTargetLength || !patternForm.test(text)) return undefined;
  const all = text.slice(1).split("/");
  if (all.includes(".") || all.includes("..")) return undefined;
  const below = all.at(-1) === "*";
  const segments = below ? all.slice(0, -1) : all;
  return { segments, folded: segments.map(fold), below };
}

/** Whether a path is one that the pattern means. @param path its segments */
export function matchesPath(pattern: PathPattern, path: readonly string[]): boolean {
  return fits(pattern.segments, pattern.below, path);
}

/**
 * For rules that deny: many servers take `/Admin` for `/admin`, and who is kept out of one must not get in by the other.
 * @param folded  what `foldPath` made
 */
export function matchesFoldedPath(pattern: PathPattern, folded: readonly string[]): boolean {
  return fits(pattern.folded, pattern.below, folded);
}

/** The path in lower case. */
export function foldPath(path: readonly string[]): readonly string[] {
  return path.map(fold);
}

function fits(segments: readonly string[], below: boolean, path: readonly string[]): boolean {
  if (below ? path.length <= segments.length && segments.length > 0 : path.length !== segments.length) return false;
  return segments.every((segment, index) => segment === "*" || segment === path[index]);
}

function fold(segment: string): string {
  return segment.toLowerCase();
}

function decodeSegment(segment: string): string | undefined {
  if (!segment.includes("%")) return segment;
  let decoded: string;
  try {
    decoded = decodeURIComponent(segment);
  } catch {
    return undefined;
  }
  return ambiguous.test(decoded) ? undefined : decoded;
}

/** What RFC 9112 lets stand in a path, less `#`, `;` and the backslash. */
const plainCharacters = /^[!"$-:<-[\]-~]+$/;
/** Once decoded: control characters, and what would be taken for a delimiter or another escape by who decodes again. */
// eslint-disable-next-line no-control-regex
const ambiguous = /[\u0000-\u001f\u007f-\u009f/\\?#;%]/;
/** Segments are a star or text without what a path cannot have once decoded; none is empty. */
// eslint-disable-next-line no-control-regex
const patternForm = /^(?:\/(?:\*|[^\u0000-\u0020\u007f-\u009f/\\?#;%*]+))+$/;
/** As much as common servers take (nginx: 8 KiB for the request line). */
const maxTargetLength = 8 * 1024;
