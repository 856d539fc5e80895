import { describe, expect, test } from "vitest";
import { tracer } from "../../../proxy/tracing/trace-context.ts";

const [traceId, parent] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"];

describe("the place of a request in its trace", () => {
  test("is below the one it came from, which decides whether it is sampled; nothing is added", () => {
    for (const [flags, isSampled] of [["01", true], ["00", false], ["03", true]] as const) {
      expect(tracer(1)([`00-${traceId}-${parent}-${flags}`])).toEqual({ traceId, parentSpanId: parent, spanId: expect.stringMatching(/^[0-9a-f]{16}$/) as string, isSampled });
    }
  });

  test("begins a trace where it came with none, and the request gets our span as its parent", () => {
    const place = tracer(1)([]);
    expect(place).toMatchObject({ isSampled: true, traceId: expect.stringMatching(/^[0-9a-f]{32}$/) as string, added: `00-${place?.traceId}-${place?.spanId}-01` });
    expect(place).not.toHaveProperty("parentSpanId");
    expect(tracer(1)([])?.traceId).not.toBe(place?.traceId);
  });

  test("of those that begin here one in so many is sampled, and the others say that they are not", () => {
    const place = tracer(100, () => 0.01)([]);
    expect([place?.isSampled, place?.added?.slice(-3)]).toEqual([false, "-00"]);
    expect(tracer(100, () => 0.0099)([])?.isSampled).toBe(true);
  });

  test("a later version is read as far as it is known", () => {
    expect(tracer(1)([`01-${traceId}-${parent}-01-more`])).toMatchObject({ traceId, parentSpanId: parent });
  });

  test.each([
    ["garbage", ["garbage"]], ["an empty one", [""]], ["two", [`00-${traceId}-${parent}-01`, `00-${traceId}-${parent}-01`]],
    ["zeros for the trace", [`00-${"0".repeat(32)}-${parent}-01`]], ["zeros for the parent", [`00-${traceId}-${"0".repeat(16)}-01`]],
    ["version ff", [`ff-${traceId}-${parent}-01`]], ["more than version 00 has", [`00-${traceId}-${parent}-01-more`]], ["upper case", [`00-${traceId.toUpperCase()}-${parent}-01`]],
  ])("with %s there is none: it goes on as it is", (_what, traceparents) => {
    expect(tracer(1)(traceparents)).toBeUndefined();
  });
});
