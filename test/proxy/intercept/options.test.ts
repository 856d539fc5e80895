import { expect, test } from "vitest";
import { interceptRules, removalRules } from "../../../proxy/intercept/rules.ts";
import { parseInterceptCommand } from "../../../proxy/intercept/options.ts";

const install = (...args: readonly string[]) => parseInterceptCommand(["install", "--proxy-user", "2102", ...args]).plan!;

test("the proxy's own connections, SSH and what the operator names are left alone", () => {
  const rules = interceptRules(install("--skip-inbound-ports", "22,9000-9100", "--skip-outbound-ports", "8443", "--skip-addresses", "10.1.0.0/16,fd00::/8"));
  expect(rules).toContain("meta skuid 2102 return");
  expect(rules).toContain("tcp dport { 4143, 4141, 22, 9000-9100 } return");
  expect(rules).toContain("tcp dport { 8443 } return");
  for (const line of ["ip saddr { 10.1.0.0/16 } return", "ip6 saddr { fd00::/8 } return", "ip daddr { 10.1.0.0/16 } return", "ip6 daddr { fd00::/8 } return"]) {
    expect(rules).toContain(line);
  }
});

test("a side that is off has no chain", () => {
  expect(interceptRules(install("--inbound", "off"))).not.toContain("chain inbound");
  expect(interceptRules(install("--outbound", "off"))).not.toContain("chain outbound");
});

test("our table is replaced whole, and removing it is right where there is none", () => {
  expect(interceptRules(install()).startsWith(removalRules().trimEnd())).toBe(true);
});

test.each([
  [["install"], /--proxy-user is missing/],
  [["install", "--proxy-user", "no-such-user"], /there is no user no-such-user/],
  [["install", "--proxy-user", "2102", "--inbound", "off", "--outbound", "off"], /nothing to intercept/],
  [["install", "--proxy-user", "2102", "--inbound", "99999"], /not a port/],
  [["install", "--proxy-user", "2102", "--skip-inbound-ports", "30-20"], /not a port or a range/],
  [["install", "--proxy-user", "2102", "--skip-addresses", "10.0.0.1; drop"], /not an IP address/],
  [["install", "--proxy-user", "2102", "--skip-addresses", "10.0.0.1/33"], /not an IP address/],
  [["install", "--proxy-user", "2102", "--skip-addresses", "fe80::1%eth0"], /not an IP address/],
  [["install", "--proxy-usr", "2102"], /--proxy-usr/],
  [["start"], /install, remove or status/],
] as const)("%j is refused with the reason", (args, why) => {
  expect(() => parseInterceptCommand(args)).toThrow(why);
});
