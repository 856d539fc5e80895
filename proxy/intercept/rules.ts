/** What of the host's TCP connections goes through the proxy. */
export interface InterceptPlan {
  /** User ID the proxy runs as: its own connections are left alone, or they would come back to it for ever. */
  readonly proxyUserId: number;
  /** Port of the inbound side; undefined: connections to the host are left alone. */
  readonly inboundPort: number | undefined;
  /** Port of the transparent outbound listener; undefined: connections of the apps are left alone. */
  readonly outboundPort: number | undefined;
  /** Ports of the host that stay as they are, beside the proxy's own. */
  readonly skipInboundPorts: readonly PortRange[];
  /** Ports elsewhere that the apps go on to reach directly. */
  readonly skipOutboundPorts: readonly PortRange[];
  /** Addresses, or networks in CIDR form, that are left alone in both directions. */
  readonly skipAddresses: readonly string[];
}

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/**
 * The rules as one nft script. It replaces our own table in one transaction, whatever was in it, and touches no other.
 * @source nft(8); linkerd2-proxy-init for which connections a proxy takes
 */
export function interceptRules(plan: InterceptPlan): string {
  const { proxyUserId, inboundPort, outboundPort, skipInboundPorts, skipOutboundPorts, skipAddresses } = plan;
  const skipped = (side: "saddr" | "daddr"): string[] => [
    ...set(skipAddresses.filter((address) => !address.includes(":")), (list) => `ip ${side} ${list} return`),
    ...set(skipAddresses.filter((address) => address.includes(":")), (list) => `ip6 ${side} ${list} return`),
  ];
  const ports = (ranges: readonly PortRange[]): string[] =>
    set(ranges.map(({ first, last }) => first === last ? String(first) : `${first}-${last}`), (list) => `tcp dport ${list} return`);
  const inbound = inboundPort === undefined ? [] : [
    "  chain inbound {",
    "    type nat hook prerouting priority dstnat; policy accept;",
    ...['iifname "lo" return', "fib daddr type != local return", ...skipped("saddr"),
      ...ports([...ownPorts(plan), ...skipInboundPorts]), `meta l4proto tcp redirect to :${inboundPort}`].map((rule) => `    ${rule}`),
    "  }",
  ];
  const outbound = outboundPort === undefined ? [] : [
    "  chain outbound {",
    // The name dstnat stands for this number only at prerouting.
    "    type nat hook output priority -100; policy accept;",
    ...[`meta skuid ${proxyUserId} return`, 'oifname "lo" return', ...skipped("daddr"),
      ...ports(skipOutboundPorts), `meta l4proto tcp redirect to :${outboundPort}`].map((rule) => `    ${rule}`),
    "  }",
  ];
  return [...removal, `table ${tableName} {`, ...inbound, ...outbound, "}", ""].join("\n");
}

/** Where the proxy itself listens. */
export function ownPorts({ inboundPort, outboundPort }: InterceptPlan): readonly PortRange[] {
  return [inboundPort, outboundPort].filter((port) => port !== undefined).map((port) => ({ first: port, last: port }));
}

/** Removes our table, and is right too where there is none: `add` makes it first. */
export function removalRules(): string {
  return [...removal, ""].join("\n");
}

export const tableName = "inet countersign";

function set(items: readonly string[], rule: (list: string) => string): string[] {
  return items.length === 0 ? [] : [rule(`{ ${items.join(", ")} }`)];
}

const removal = [`add table ${tableName}`, `delete table ${tableName}`];
