import type { z } from "@hono/zod-openapi";

/**
 * The contract's shapes are here as zod schemas, a file for each part of the API: it is loaded with that part. Requests are strict: a member
 * we do not know is a member somebody relies on in vain.
 */

/** `true` if a schema and its type in `ca/contract/` are the same in both directions. */
export type Is<Schema extends z.ZodType, Type> = [z.infer<Schema>] extends [Type] ? ([Type] extends [z.infer<Schema>] ? true : false) : false;

/** Compiles if every row does. */
export type Kept<Rows extends readonly true[]> = Rows;
