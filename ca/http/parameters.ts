import { z } from "@hono/zod-openapi";
import { Refusal } from "../refusal.ts";
import { encodeCursor, parseCursor } from "./cursor.ts";

/** A whole number in a query: decimal digits and nothing else, which `Number("0x10")` and `Number("")` are not. */
export function integerParameter(options: {
  readonly min: number;
  readonly max: number;
  readonly description: string;
}) {
  const { min, max, description } = options;
  const sentence = `expected a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,16}$/, sentence)
    .transform(Number)
    .refine((value) => value >= min && value <= max, sentence)
    .openapi({ type: "integer", minimum: min, maximum: max, description });
}

/** Rows of a page. */
export const limit = integerParameter({ min: 1, max: 1000, description: "Rows of a page; default 100." }).optional();
export const defaultLimit = 100;

export const cursor = z
  .string()
  .min(1)
  .max(128)
  .optional()
  .openapi({ description: "`nextCursor` of the page before." });

/** An index or a size in the audit log. */
export function logPosition(description: string) {
  return integerParameter({ min: 0, max: Number.MAX_SAFE_INTEGER, description });
}

/** A serial number as people have it: any case; the answer has lower case. */
export const serialParameter = z.object({
  serial: z
    .string()
    .regex(/^[0-9A-Fa-f]{1,40}$/, "expected the serial number in hex, without colons")
    .openapi({ description: "Serial number, hex.", example: "5e1c6f1c9d02a7b34e58c1d0e9f8a7b6c5d4" }),
});

/** What the position is of that a cursor stands for: an entry of the log, a revocation among all of them, a workload, edge or proxy in their list. */
export type PositionKind = "entry" | "revocation" | "workload" | "edge" | "proxy";

/** The cursor of a position, which is good for listings of its kind only. */
export function encodePosition(position: number, kind: PositionKind = "entry"): string {
  return encodeCursor(`${prefixes[kind]}${position}`);
}

/**
 * The position a cursor stands for.
 * @throws {Refusal} invalid_request
 */
export function parsePosition(text: string, kind: PositionKind = "entry"): number {
  const written = parseCursor(text);
  const position = written.startsWith(prefixes[kind]) ? Number(written.slice(prefixes[kind].length)) : Number.NaN;
  if (!Number.isSafeInteger(position))
    throw new Refusal("invalid_request", "cursor: it belongs to another listing; begin again without it.");
  return position;
}

const prefixes: Readonly<Record<PositionKind, string>> = { entry: "", revocation: "r", workload: "w", edge: "e", proxy: "p" };
