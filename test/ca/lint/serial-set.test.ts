import fc from "fast-check";
import { expect, test } from "vitest";
import { serialSet } from "../../../ca/lint/serial-set.ts";

test("it holds each serial number once, whatever their lengths and however many", () => {
  const octets = fc.uint8Array({ minLength: 1, maxLength: 20 });
  const few = fc.array(fc.oneof(octets, fc.constantFrom(Uint8Array.of(0), Uint8Array.of(0, 0), Uint8Array.of(1, 2, 3, 4), Uint8Array.of(1, 2, 3, 4, 0))), { maxLength: 50 });
  fc.assert(fc.property(few, (serials) => {
    const bytes = Buffer.concat(serials);
    const set = serialSet(bytes);
    let at = 0;
    for (const { length } of serials) {
      set.add(at, length);
      at += length;
    }
    expect(set.size()).toBe(new Set(serials.map((serial) => Buffer.from(serial).toString("hex"))).size);
  }));
});

test("serial numbers that count up are spread as random ones are, beyond its first size", () => {
  const bytes = new Uint8Array(4 * 20_000);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < 20_000; index++) view.setUint32(4 * index, index % 19_000);
  const set = serialSet(bytes);
  for (let index = 0; index < 20_000; index++) set.add(4 * index, 4);
  expect(set.size()).toBe(19_000);
});
