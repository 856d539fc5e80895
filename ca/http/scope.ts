import { PkiError } from "../pki/errors.ts";
import { matchesSpiffeIdPattern, parseSpiffeId, parseSpiffeIdPattern, type SpiffeId } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";
import type { Caller } from "./services.ts";

/** SPIFFE ID patterns that a caller's view is cut down to: an operator's scope; undefined for those who see everything. */
export function viewOf(caller: Caller | undefined): readonly string[] | undefined {
  // No route that lists is public; if one ever were, nobody must see nothing.
  if (caller === undefined) return [];
  return caller.role === "operator" ? caller.scope : undefined;
}

/** Whether this ID is within what the caller sees. */
export function isInView(caller: Caller | undefined, spiffeId: string): boolean {
  return inViewOf(caller)(spiffeId);
}

/** The same for many IDs, also for what was reported as one and is none: that is in nobody's scope. */
export function inViewOf(caller: Caller | undefined): (spiffeId: string) => boolean {
  const patterns = viewOf(caller)?.map(parseSpiffeIdPattern);
  return (spiffeId) => {
    if (patterns === undefined) return true;
    const id = readSpiffeId(spiffeId);
    return id !== undefined && patterns.some((pattern) => matchesSpiffeIdPattern(pattern, id));
  };
}

function readSpiffeId(text: string): SpiffeId | undefined {
  try {
    return parseSpiffeId(text);
  } catch (error) {
    if (error instanceof PkiError) return undefined;
    throw error;
  }
}

/**
 * Whether the caller may look at what belongs to this ID.
 * @throws {Refusal} forbidden; it does not tell whose it is
 */
export function checkView(caller: Caller | undefined, spiffeId: string, what: string): void {
  if (isInView(caller, spiffeId)) return;
  throw new Refusal("forbidden", `${what} is outside the scope of the caller "${caller?.name ?? "nobody"}"; ask an admin or an auditor.`);
}
