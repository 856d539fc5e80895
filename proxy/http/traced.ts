import type { Exchange } from "../exchanges.ts";
import { traceparentHeader } from "../tracing/trace-context.ts";
import { linesOf, type Fields } from "./fields.ts";

/** Values of the `traceparent` fields of a head. */
export function traceparentsOf(fields: Fields): readonly string[] {
  return linesOf(fields).filter(({ name }) => name === traceparentHeader)
    .map(({ from, to }) => fields.bytes.toString("latin1", from + traceparentHeader.length + 1, to).trim());
}

/** The lines that are added to a request, with the `traceparent` that it gets here if it gets one. */
export function withTraceparent(lines: Buffer, { trace }: Exchange): Buffer {
  return trace?.added === undefined ? lines : Buffer.concat([lines, Buffer.from(`${traceparentHeader}: ${trace.added}\r\n`)]);
}
