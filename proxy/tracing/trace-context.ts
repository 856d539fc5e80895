import { randomBytes } from "node:crypto";

/** The place of one exchange in a trace; IDs are lower-case hex. */
export interface TracePlace {
  readonly traceId: string;
  /** Of our span. */
  readonly spanId: string;
  /** Absent: the trace begins here. */
  readonly parentSpanId?: string;
  /** A span is to be reported. */
  readonly isSampled: boolean;
  /** Value of the `traceparent` that is added to the request; absent where it came with one, which goes on untouched. */
  readonly added?: string;
}

/** Finds the place of a request in its trace. @param traceparents values of all `traceparent` fields it came with */
export type Tracer = (traceparents: readonly string[]) => TracePlace | undefined;

/**
 * Makes the tracer: a request that belongs to a trace keeps it, and its decision whether it is sampled; for one that does not, a trace
 * begins here. What came malformed, or twice, is passed on as it is and gets no span of ours.
 * @param every   of so many traces that begin here one is sampled
 * @param random  uniform in [0, 1)
 * @source W3C Trace Context, sections 3.2 and 4.3
 */
export function tracer(every: number, random: () => number = Math.random): Tracer {
  return (traceparents) => {
    const [given] = traceparents;
    const ids = randomBytes(traceparents.length === 0 ? 24 : 8).toString("hex");
    const spanId = ids.slice(0, 16);
    if (given === undefined) {
      const isSampled = random() < 1 / every;
      const traceId = ids.slice(16);
      return { traceId, spanId, isSampled, added: `00-${traceId}-${spanId}-${isSampled ? "01" : "00"}` };
    }
    const [, version, traceId, parentSpanId, flags, rest] = form.exec(given) ?? [];
    if (traceparents.length > 1 || traceId === undefined || parentSpanId === undefined || version === "ff" || (version === "00" && rest !== "")) return undefined;
    if (/^0+$/.test(traceId) || /^0+$/.test(parentSpanId)) return undefined;
    return { traceId, spanId, parentSpanId, isSampled: (Number.parseInt(flags ?? "0", 16) & 1) === 1 };
  };
}

export const traceparentHeader = "traceparent";
/** A later version may have more behind a dash. */
const form = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})((?:-.*)?)$/;
