import { expect, test } from "vitest";
import { clientAddress } from "../../../ca/http/address.ts";

test.each([
  ["10.0.0.1", "10.0.0.1"],
  ["::ffff:10.0.0.1", "10.0.0.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"],
  ["2001:db8::1", "2001:db8:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["::1", "0:0:0:0::/64"],
])("a stranger at %s has the share of %s", (remoteAddress, share) => {
  expect(clientAddress({ incoming: { socket: { remoteAddress } } })).toBe(share);
});

test("a request without a socket has a share all the same", () => {
  for (const env of [undefined, {}, { incoming: { socket: {} } }]) expect(clientAddress(env)).toBe("");
});
