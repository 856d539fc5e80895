import { expect, test } from "vitest";
import { blockListOf, challengeValidator, isReachable } from "../../../ca/acme/validate.ts";

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

test("names are looked up by the system one after the other: a DNS server that does not answer leaves it to others", { timeout: 60_000 }, async () => {
  const asked: { readonly name: string; readonly answer: () => void }[] = [];
  const bySystem = ((name: string) => new Promise((_, reject) => void asked.push({ name, answer: () => reject(new Error("no such name")) }))) as never;
  const validate = challengeValidator({ resolver: undefined, reach: [], httpPort: 80, tlsPort: 443 }, bySystem);
  const names = Array.from({ length: 70 }, (_, index) => `n${index}.internal`);
  const outcomes = names.map((name) => validate("http-01", name, "token", "key").catch(({ type, message }: { type: string; message: string }) => `${type} ${message}`));
  // Those that find no place to wait say so, each after its last attempt.
  expect(await outcomes[69]).toMatch(/^dns .*64 names are being looked up/);
  expect(asked.map(({ name }) => name)).toEqual(["n0.internal"]);
  let over = false;
  const all = Promise.all(outcomes).then(() => void (over = true));
  for (let answered = 0; !over; await new Promise(setImmediate)) {
    expect(asked.length - answered).toBeLessThanOrEqual(1);
    if (asked.length > answered) asked[answered++]!.answer();
  }
  await all;
  expect(await outcomes[0]).toMatch(/^dns There is no address of n0/);
});
