import { expect, test } from "vitest";
import { serialNumbers } from "../../../ca/issuance/serial.ts";

const nowMs = Date.UTC(2026, 10, 21);
const hex = (serial: Uint8Array) => Buffer.from(serial).toString("hex");

test("serial numbers have 18 octets and no sign octet, whatever the time, and do not repeat or share memory", () => {
  const next = serialNumbers();
  const times = [0, 1, nowMs, nowMs + 0.5, Date.UTC(2106, 0, 1), Date.UTC(9999, 11, 31), -1];
  const serials = times.flatMap((timeMs) => Array.from({ length: 3000 }, () => next(timeMs)));
  expect(serials.every((serial) => serial.length === 18 && serial[0]! >= 0x40 && serial[0]! < 0x80)).toBe(true);
  expect(new Set(serials.map(hex)).size).toBe(serials.length);
});

test("of 144 bits the last 128 are random, and every one of them varies", () => {
  const next = serialNumbers();
  const ones = new Array<number>(128).fill(0);
  const count = 2000;
  for (let draw = 0; draw < count; draw++) {
    next(nowMs).subarray(2).forEach((octet, index) => {
      for (let bit = 0; bit < 8; bit++) ones[index * 8 + bit]! += (octet >> bit) & 1;
    });
  }
  // Nine standard deviations: chance alone does not get there.
  expect(ones.every((seen) => Math.abs(seen - count / 2) < 9 * Math.sqrt(count / 4))).toBe(true);
});

test("serial numbers of the same moment begin alike, and those of another one otherwise", () => {
  const next = serialNumbers();
  const beginnings = [0, 10, 70, 70 + 256 * 64].map((laterMs) => hex(next(nowMs + laterMs)).slice(0, 4));
  expect(beginnings[1]).toBe(beginnings[0]);
  expect(new Set(beginnings).size).toBe(3);
});
