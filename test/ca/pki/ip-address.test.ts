import { isIPv4 } from "node:net";
import fc from "fast-check";
import { expect, it } from "vitest";
import { parseIpAddress, parseIpRange } from "../../../ca/pki/ip-address.ts";
import { outcomeOf } from "../../support/outcome.ts";

const hex = (octets: Uint8Array): string => Buffer.from(octets).toString("hex");

it.each([
  ["127.0.0.1", "7f000001"],
  ["255.255.255.255", "ffffffff"],
  ["::", "00000000000000000000000000000000"],
  ["::1", "00000000000000000000000000000001"],
  ["fd00::", "fd000000000000000000000000000000"],
  ["2001:DB8::a:0:1", "20010db8000000000000000a00000001"],
  ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
  ["::ffff:10.0.0.1", "00000000000000000000ffff0a000001"],
  ["64:ff9b::192.0.2.33", "0064ff9b0000000000000000c0000221"],
])("%s becomes its octets", (text, octets) => {
  expect(hex(parseIpAddress(text))).toBe(octets);
});

it.each(["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.0.0.1", "1.2.3.4 ", "0x7f.1", "localhost", ":::", "::1::", "fe80::1%eth0", "[::1]", "1.2.3.4/8"])(
  "%j is not an address", (text) => {
    expect(outcomeOf(() => parseIpAddress(text))).toBe("ip_address_malformed");
  },
);

it("agrees with the URL parser, which writes the same address in one form", () => {
  fc.assert(fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
    const host = isIPv4(text) ? text : `[${text}]`;
    const canonical = new URL(`http://${host}/`).hostname.replace(/[[\]]/g, "");
    expect(hex(parseIpAddress(text))).toBe(hex(parseIpAddress(canonical)));
    if (isIPv4(text)) expect([...parseIpAddress(text)].join(".")).toBe(text);
  }));
});

it.each([
  ["10.0.0.0/8", "0a000000ff000000"],
  ["0.0.0.0/0", "0000000000000000"],
  ["10.128.0.0/9", "0a800000ff800000"],
  ["10.0.0.1/32", "0a000001ffffffff"],
  ["fc00::/7", `fc${"00".repeat(15)}fe${"00".repeat(15)}`],
  ["::/0", "00".repeat(32)],
])("%s becomes address and mask", (text, octets) => {
  expect(hex(parseIpRange(text))).toBe(octets);
});

it.each(["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.1/8", "fd00::/7", "10.0.0.0/08", "10.0.0.0/-1", "10.0.0.0/8/8", "/8", "x/8"])(
  "%j is not a range", (text) => {
    expect(outcomeOf(() => parseIpRange(text))).toBe("ip_address_malformed");
  },
);
