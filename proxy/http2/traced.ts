import type { Exchange } from "../exchanges.ts";
import { traceparentHeader } from "../tracing/trace-context.ts";
import type { FieldText } from "./hpack-encoder.ts";

/** Values of the `traceparent` fields of a request. */
export function traceparentsIn(fields: readonly FieldText[]): readonly string[] {
  return fields.filter(({ name }) => name === traceparentHeader).map(({ value }) => value);
}

/** The fields that are added to a request, with the `traceparent` that it gets here if it gets one. */
export function withTraceparentField(fields: readonly FieldText[], { trace }: Exchange): readonly FieldText[] {
  return trace?.added === undefined ? fields : [...fields, { name: traceparentHeader, value: trace.added }];
}
