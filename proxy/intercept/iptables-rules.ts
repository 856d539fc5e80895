import { ownPorts, type InterceptPlan, type PortRange } from "./rules.ts";

/** IPv4 or IPv6: iptables keeps them apart. */
export type IpFamily = 4 | 6;

/** What there is of ours already, by hook. */
export type Hooked = Readonly<Record<Hook, boolean>>;
export type Hook = "PREROUTING" | "OUTPUT";

/** Our chain in the table nat for each hook of the kernel's. */
export const chainOf: Readonly<Record<Hook, string>> = { PREROUTING: "COUNTERSIGN_INBOUND", OUTPUT: "COUNTERSIGN_OUTBOUND" };

/**
 * The rules for `iptables-restore --noflush`: the same as for nft, for hosts that have only the older tool. Our chains are
 * replaced whole and in one transaction; no other chain is touched but for the one rule that leads to each of ours.
 * @source iptables-restore(8), iptables-extensions(8); rules.ts for what is left alone
 */
export function iptablesRules(plan: InterceptPlan, family: IpFamily, hooked: Hooked): string {
  const { proxyUserId, inboundPort, outboundPort, skipInboundPorts, skipOutboundPorts, skipAddresses } = plan;
  const addresses = skipAddresses.filter((address) => address.includes(":") === (family === 6));
  const skippedPorts = (ranges: readonly PortRange[]): string[] => ranges.map(({ first, last }) => `-p tcp --dport ${first}:${last} -j RETURN`);
  const inbound = inboundPort === undefined ? [] : [
    "-i lo -j RETURN", "-m addrtype ! --dst-type LOCAL -j RETURN", ...addresses.map((address) => `-s ${address} -j RETURN`),
    ...skippedPorts([...ownPorts(plan), ...skipInboundPorts]), `-p tcp -j REDIRECT --to-ports ${inboundPort}`,
  ];
  const outbound = outboundPort === undefined ? [] : [
    `-m owner --uid-owner ${proxyUserId} -j RETURN`, "-o lo -j RETURN", ...addresses.map((address) => `-d ${address} -j RETURN`),
    ...skippedPorts(skipOutboundPorts), `-p tcp -j REDIRECT --to-ports ${outboundPort}`,
  ];
  return table([...chain("PREROUTING", inbound, hooked), ...chain("OUTPUT", outbound, hooked)]);
}

/** Removes what there is of ours; nothing to do gives an empty transaction. */
export function iptablesRemoval(hooked: Hooked): string {
  return table(hooks.flatMap((hook) => (hooked[hook] ? [`:${chainOf[hook]} - [0:0]`, `-D ${hook} -p tcp -j ${chainOf[hook]}`, `-X ${chainOf[hook]}`] : [])));
}

/** @param listed  what `iptables -t nat -S` printed */
export function hookedIn(listed: string): Hooked {
  const lines = listed.split("\n");
  const isHooked = (hook: Hook): boolean => lines.includes(`-A ${hook} -p tcp -j ${chainOf[hook]}`);
  return { PREROUTING: isHooked("PREROUTING"), OUTPUT: isHooked("OUTPUT") };
}

/** A chain that is declared is emptied first. */
function chain(hook: Hook, rules: readonly string[], hooked: Hooked): readonly string[] {
  if (rules.length === 0 && !hooked[hook]) return [];
  const name = chainOf[hook];
  return [`:${name} - [0:0]`, ...rules.map((rule) => `-A ${name} ${rule}`), ...(hooked[hook] ? [] : [`-A ${hook} -p tcp -j ${name}`])];
}

function table(lines: readonly string[]): string {
  return ["*nat", ...lines, "COMMIT", ""].join("\n");
}

const hooks: readonly Hook[] = ["PREROUTING", "OUTPUT"];
