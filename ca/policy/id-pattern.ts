import { PkiError } from "../pki/errors.ts";
import { parseSpiffeId, type SpiffeId } from "../pki/spiffe-id.ts";

/** Which IDs a policy is about; made by `parseIdPattern`. */
export interface IdPattern {
  readonly trustDomain: string;
  /** Literal segments, and `*` for any one. */
  readonly segments: readonly string[];
  /** It ends in `/*`: one segment or more follow. */
  readonly below: boolean;
}

/**
 * Reads a pattern of SPIFFE IDs: a star stands for one whole segment, as the last one for one or more, as in scopes. The trust
 * domain is never a star, and never alone: `spiffe://td/ns/shop/*` and, with a star
 * between ns and sa, the web of each namespace.
 * @returns undefined for a text that is none
 */
export function parseIdPattern(text: string): IdPattern | undefined {
  try {
    // A star is no character of an ID, so what parses with another word in its place had it as a whole segment.
    const { trustDomain, path } = parseSpiffeId(text.split("/").map((part, index) => (part === "*" && index > 2 ? "x" : part)).join("/"));
    if (path === "") return undefined;
    const all = text.slice(`spiffe://${trustDomain}/`.length).split("/");
    const below = all.at(-1) === "*";
    return { trustDomain, segments: below ? all.slice(0, -1) : all, below };
  } catch (error) {
    if (error instanceof PkiError) return undefined;
    throw error;
  }
}

/** Whether an ID is one that one of the patterns means. */
export function matchesAnyId(patterns: readonly IdPattern[], { trustDomain, path }: SpiffeId): boolean {
  const parts = path.split("/").slice(1);
  return patterns.some((pattern) => pattern.trustDomain === trustDomain && fits(pattern, parts));
}

/** A loop by itself: the CA holds each proxy's ID against all patterns there are. */
function fits({ segments, below }: IdPattern, path: readonly string[]): boolean {
  if (below ? path.length <= segments.length : path.length !== segments.length) return false;
  for (let index = 0; index < segments.length; index++) if (segments[index] !== "*" && segments[index] !== path[index]) return false;
  return true;
}

/** Whether every ID of the one pattern is of the other: what an operator's scope has to be to a policy. */
export function covers(outer: IdPattern, inner: IdPattern): boolean {
  if (outer.trustDomain !== inner.trustDomain) return false;
  const longEnough = outer.below
    ? inner.segments.length + (inner.below ? 1 : 0) > outer.segments.length
    : !inner.below && inner.segments.length === outer.segments.length;
  return longEnough && outer.segments.every((segment, index) => segment === "*" || segment === inner.segments[index]);
}
