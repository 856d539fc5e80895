import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeFields, decodeText, encodeField, ProtobufError } from "../../../ca/pki/protobuf.ts";

describe("a message is taken apart", () => {
  test("with fields of other types and later versions passed over", () => {
    const fields = decodeFields(Buffer.concat([
      [0x38, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02], // 7: 2^50
      [0x0a, 1, 0x61], // 1: "a"
      [0x49, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f], // 9: 1.0
      [0x12, 2, 0xc3, 0xa9], // 2: "é"
      [0x1d, 1, 0, 0, 0], // 3: fixed32
      [0x0a, 1, 0x62], // 1: "b"
      [0x82, 0x7d, 1, 0x78], // 2000: "x"
    ].map((bytes) => Uint8Array.from(bytes))));
    expect(fields.get(1)?.map(decodeText)).toEqual(["a", "b"]);
    expect(decodeText(fields.get(2)?.at(-1))).toBe("é");
    expect(decodeText(fields.get(4)?.at(-1))).toBe("");
    expect([...fields.keys()]).toEqual([1, 2, 2000]);
  });

  test.each([
    ["that is cut off in a tag", [0x8a]], ["in a length", [0x0a, 0x80]], ["in a field", [0x0a, 5, 1]], ["in a fixed field", [0x09, 1]],
    ["with a length beyond all", [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]],
    ["with a number that does not end", [0x0a, ...Array.from({ length: 11 }, () => 0x80)]],
    ["with a field without a number", [0x02, 0]], ["with a group", [0x0b]],
  ])("but not one %s", (_what, bytes) => {
    expect(() => decodeFields(Uint8Array.from(bytes))).toThrow(ProtobufError);
  });

  test("and no text that is not UTF-8", () => {
    expect(() => decodeText(Uint8Array.of(0xff))).toThrow(ProtobufError);
  });

  test("whatever it is, without another error", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        for (const [number, values] of decodeFields(bytes)) expect([number > 0, values.length > 0]).toEqual([true, true]);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtobufError);
      }
    }), { numRuns: 500 });
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), (values) => {
      const written = Buffer.concat(values.map((value) => encodeField(3, value)));
      expect((decodeFields(written).get(3) ?? []).map((value) => Buffer.from(value))).toEqual(values.map((value) => Buffer.from(value)));
    }), { numRuns: 100 });
  });
});
