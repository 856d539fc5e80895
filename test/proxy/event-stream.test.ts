import { describe, expect, test } from "vitest";
import { eventParser } from "../../proxy/event-stream.ts";

const parse = (text: string, cuts: readonly number[] = []) => {
  const parser = eventParser();
  const bytes = Buffer.from(text);
  const edges = [0, ...cuts, bytes.length];
  return edges.slice(1).flatMap((end, index) => parser(bytes.subarray(edges[index], end)));
};

const stream = ": alive\n\nevent: epoch\ndata: {\"feedEpoch\":\"é\"}\n\nid: e.1\r\nevent:revocation\r\ndata: one\r\ndata: two\r\n\r\n";
const events = [{ event: "epoch", data: '{"feedEpoch":"é"}', id: undefined }, { event: "revocation", data: "one\ntwo", id: "e.1" }];

describe("a stream of events", () => {
  test("is the same wherever it is cut, also within a character or a line's end", () => {
    const { length } = Buffer.from(stream);
    for (let cut = 0; cut <= length; cut++) expect(parse(stream, [cut])).toEqual(events);
    expect(parse(stream, Array.from({ length }, (_, index) => index))).toEqual(events);
  });

  test.each([
    ["an event without data is none, and its ID is forgotten with it", "id: 1\nevent: x\n\ndata: y\n\n", [{ event: "message", data: "y", id: undefined }]],
    ["one space after the colon is not data, a second one is", "data:  x\n\n", [{ event: "message", data: " x", id: undefined }]],
    ["a field without a colon has no value", "data\n\n", [{ event: "message", data: "", id: undefined }]],
    ["fields that are not known are left out", "retry: 1\nfoo: bar\ndata: x\n\n", [{ event: "message", data: "x", id: undefined }]],
    ["an ID with NUL is none", "id: a\0b\ndata: x\n\n", [{ event: "message", data: "x", id: undefined }]],
    ["what is not ended is not there yet", "data: x\n", []],
  ])("%s", (_claim, text, expected) => {
    expect(parse(text)).toEqual(expected);
  });

  test.each([
    ["in one line", () => "data: ".padEnd(200, "x")],
    ["in many lines", () => "data: x\n".repeat(50)],
    ["of lines that say nothing", () => "nothing: x\n".repeat(50)],
    ["of comments without an end", () => ":".padEnd(200, "x")],
  ])("an event that is longer than the limit %s is refused before it is held", (_what, text) => {
    const parser = eventParser(100);
    expect(() => parser(Buffer.from(text()))).toThrow(expect.objectContaining({ code: "ca_answer_invalid" }));
  });

  test("any number of signs of life stays below the limit", () => {
    const parser = eventParser(100);
    for (let index = 0; index < 1000; index++) expect(parser(Buffer.from(": alive\n\n"))).toEqual([]);
  });

  test("what is not UTF-8 is refused", () => {
    expect(() => eventParser()(Buffer.from([0x64, 0xff, 0x0a]))).toThrow(expect.objectContaining({ code: "ca_answer_invalid" }));
  });
});
