import { PkiError, type PkiErrorCode } from "./errors.ts";
import { isObject, type JsonObject } from "./json.ts";

/**
 * Reads a JSON object of which everybody reads the same: UTF-8 without faults, and no member twice, of which parsers take the first or
 * the last as they like.
 * @param code    what it is refused with
 * @param what    for the message, e.g. "the token's header"
 * @throws {PkiError} with `code`
 * @source RFC 8259 section 4, RFC 7515 section 4, RFC 7493 sections 2.1 and 2.3
 */
export function parseStrictObject(bytes: Uint8Array, code: PkiErrorCode, what: string): JsonObject {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    // Without its cause: the message of JSON.parse repeats the input.
    throw new PkiError(code, `${what} is not JSON`);
  }
  if (!isObject(value)) throw new PkiError(code, `${what} is not a JSON object`);
  const fault = repetitionIn(text);
  if (fault !== undefined) throw new PkiError(code, `${what} ${fault}`);
  return value;
}

/** Walks over JSON that is known to be well-formed. */
function repetitionIn(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  let name: string | undefined;
  for (const [token] of text.matchAll(tokens)) {
    if (token === "{" || token === "[") {
      if (open.push(token === "{" ? new Set() : undefined) > maxDepth) return `is nested more than ${maxDepth} deep`;
    } else if (token === "}" || token === "]") open.pop();
    else if (token === ":") {
      const members = open.at(-1);
      if (name === undefined || members === undefined) continue;
      if (members.has(name)) return "has a member twice";
      members.add(name);
    } else name = JSON.parse(token) as string;
  }
  return undefined;
}

const tokens = /"(?:[^"\\]|\\.)*"|[{}[\]:]/g;
/** Claims are flat; a few objects in each other are all that anybody sends. */
const maxDepth = 16;
