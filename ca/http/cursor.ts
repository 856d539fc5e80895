import { Refusal } from "../refusal.ts";

/** A place in a listing, as text that callers are to hand back and not to read. */
export function encodeCursor(position: string | number): string {
  return Buffer.from(`${version}${position}`).toString("base64url");
}

/**
 * The place a cursor stands for.
 * @throws {Refusal} invalid_request
 */
export function parseCursor(cursor: string): string {
  const text = Buffer.from(cursor, "base64url").toString("latin1").slice(version.length);
  if (!position.test(text) || encodeCursor(text) !== cursor) {
    throw new Refusal("invalid_request", "cursor: not one this CA gave out; begin again without it.");
  }
  return text;
}

/** So that a later kind of cursor cannot be taken for this one. */
const version = "1:";
const position = /^[\w-]{1,64}$/;
