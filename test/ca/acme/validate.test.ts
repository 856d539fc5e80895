import { expect, test } from "vitest";
import { blockListOf, isReachable } from "../../../ca/acme/validate.ts";

const none = blockListOf([]);

test.each([
  "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.31.255.255", "192.168.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "fd00::1", "fe80::1", "ff02::1",
  "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:a00:1", "2002:a00:1::1", "64:ff9b::a00:1",
  // Network-local NAT64 and SIIT, which translate to the same inner addresses; what sites had before fc00::/7; what nobody has.
  "64:ff9b:1::a00:1", "::ffff:0:10.0.0.1", "fec0::1", "100::1", "2001:10::1", "2001:db8::1", "3fff::1", "5f00::1", "192.0.2.1", "web.shop.internal", "",
])("%s is not asked unless the operator says so", (address) => {
  expect(isReachable(address, none)).toBe(false);
});

test("public addresses are asked, and what the operator has named", () => {
  for (const address of ["8.8.8.8", "172.32.0.1", "2001:4860:4860::8888", "2a00:1450::1"]) expect(isReachable(address, none)).toBe(true);
  const reach = blockListOf(["10.0.0.0/8", "fd00::/16"]);
  for (const address of ["10.9.9.9", "::ffff:10.0.0.1", "fd00::1"]) expect(isReachable(address, reach)).toBe(true);
  for (const address of ["127.0.0.1", "fd01::1", "169.254.169.254"]) expect(isReachable(address, reach)).toBe(false);
});
