import { matchesSpiffeIdPattern, parseSpiffeId, parseSpiffeIdPattern } from "../pki/spiffe-id.ts";
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
  const view = viewOf(caller);
  if (view === undefined) return true;
  const id = parseSpiffeId(spiffeId);
  return view.some((pattern) => matchesSpiffeIdPattern(parseSpiffeIdPattern(pattern), id));
}

/**
 * Whether the caller may look at what belongs to this ID.
 * @throws {Refusal} forbidden; it does not tell whose it is
 */
export function checkView(caller: Caller | undefined, spiffeId: string, what: string): void {
  if (isInView(caller, spiffeId)) return;
  throw new Refusal("forbidden", `${what} is outside the scope of the caller "${caller?.name ?? "nobody"}"; ask an admin or an auditor.`);
}
