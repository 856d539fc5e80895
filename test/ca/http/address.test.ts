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

test("the function runtime's word for who asks counts, a header only as far as forwarders are configured", () => {
  const env = { clientIp: "10.0.0.1" };
  expect(clientAddress(env)).toBe("10.0.0.1");
  expect(clientAddress(env, undefined, "1.2.3.4")).toBe("10.0.0.1");
  // The nearest forwarder wrote the last address; what is before those of all forwarders anybody may have written.
  expect(clientAddress(env, 1, "6.6.6.6, 192.0.2.1")).toBe("192.0.2.1");
  expect(clientAddress(env, 2, "6.6.6.6, 2001:db8:1:2::9, 10.9.9.9")).toBe("2001:db8:1:2::/64");
  for (const header of [null, "", "unknown", "6.6.6.6,"]) expect(clientAddress(env, 1, header)).toBe("10.0.0.1");
  expect(clientAddress(env, 3, "6.6.6.6, 192.0.2.1")).toBe("10.0.0.1");
});
