import { expect, test } from "vitest";
import { serialNumbers } from "../../../ca/issuance/serial.ts";

test("serial numbers have 16 octets, the first never zero, and do not repeat or share memory", () => {
  const next = serialNumbers();
  const serials = Array.from({ length: 20_000 }, () => next());
  expect(serials.every((serial) => serial.length === 16 && serial[0] !== 0)).toBe(true);
  expect(new Set(serials.map((serial) => Buffer.from(serial).toString("hex"))).size).toBe(serials.length);
});

test("every bit of a serial number varies", () => {
  const next = serialNumbers();
  const ones = new Array<number>(128).fill(0);
  const count = 2000;
  for (let draw = 0; draw < count; draw++) {
    next().forEach((octet, index) => {
      for (let bit = 0; bit < 8; bit++) ones[index * 8 + bit]! += (octet >> bit) & 1;
    });
  }
  // Nine standard deviations: chance alone does not get there.
  expect(ones.every((seen) => Math.abs(seen - count / 2) < 9 * Math.sqrt(count / 4))).toBe(true);
});
