import { describe, expect, test } from "vitest";
import { hookedIn, iptablesRemoval, iptablesRules } from "../../../proxy/intercept/iptables-rules.ts";
import type { InterceptPlan } from "../../../proxy/intercept/rules.ts";

const plan: InterceptPlan = {
  proxyUserId: 998, inboundPort: 4143, outboundPort: 4141,
  skipInboundPorts: [{ first: 22, last: 22 }], skipOutboundPorts: [{ first: 9000, last: 9100 }], skipAddresses: ["10.1.0.0/16", "fd00:1::/32"],
};
const nothing = { PREROUTING: false, OUTPUT: false };

describe("rules for iptables", () => {
  test("leave the proxy's user, loopback and what is skipped alone before they redirect", () => {
    expect(iptablesRules(plan, 4, nothing).split("\n")).toEqual([
      "*nat",
      ":COUNTERSIGN_INBOUND - [0:0]",
      "-A COUNTERSIGN_INBOUND -i lo -j RETURN",
      "-A COUNTERSIGN_INBOUND -m addrtype ! --dst-type LOCAL -j RETURN",
      "-A COUNTERSIGN_INBOUND -s 10.1.0.0/16 -j RETURN",
      "-A COUNTERSIGN_INBOUND -p tcp --dport 4143:4143 -j RETURN",
      "-A COUNTERSIGN_INBOUND -p tcp --dport 4141:4141 -j RETURN",
      "-A COUNTERSIGN_INBOUND -p tcp --dport 22:22 -j RETURN",
      "-A COUNTERSIGN_INBOUND -p tcp -j REDIRECT --to-ports 4143",
      "-A PREROUTING -p tcp -j COUNTERSIGN_INBOUND",
      ":COUNTERSIGN_OUTBOUND - [0:0]",
      "-A COUNTERSIGN_OUTBOUND -m owner --uid-owner 998 -j RETURN",
      "-A COUNTERSIGN_OUTBOUND -o lo -j RETURN",
      "-A COUNTERSIGN_OUTBOUND -d 10.1.0.0/16 -j RETURN",
      "-A COUNTERSIGN_OUTBOUND -p tcp --dport 9000:9100 -j RETURN",
      "-A COUNTERSIGN_OUTBOUND -p tcp -j REDIRECT --to-ports 4141",
      "-A OUTPUT -p tcp -j COUNTERSIGN_OUTBOUND",
      "COMMIT", "",
    ]);
  });

  test("name the addresses of their own family only", () => {
    expect(iptablesRules(plan, 6, nothing)).toContain("-d fd00:1::/32 -j RETURN");
    expect(iptablesRules(plan, 6, nothing)).not.toContain("10.1");
    expect(iptablesRules(plan, 4, nothing)).not.toContain("fd00");
  });

  test("lead to each chain once, and empty the one that is off now", () => {
    const both = { PREROUTING: true, OUTPUT: true };
    const again = iptablesRules({ ...plan, inboundPort: undefined }, 4, both);
    expect(again).not.toMatch(/-A (PREROUTING|OUTPUT)/);
    expect(again).toContain(":COUNTERSIGN_INBOUND - [0:0]");
    expect(again).not.toContain("-A COUNTERSIGN_INBOUND");
  });

  test("are found in what iptables lists, and removed only where they are", () => {
    const hooked = hookedIn("-P OUTPUT ACCEPT\n-N COUNTERSIGN_OUTBOUND\n-A OUTPUT -p tcp -j COUNTERSIGN_OUTBOUND\n");
    expect(hooked).toEqual({ PREROUTING: false, OUTPUT: true });
    expect(iptablesRemoval(hooked).split("\n")).toEqual([
      "*nat", ":COUNTERSIGN_OUTBOUND - [0:0]", "-D OUTPUT -p tcp -j COUNTERSIGN_OUTBOUND", "-X COUNTERSIGN_OUTBOUND", "COMMIT", "",
    ]);
  });
});
