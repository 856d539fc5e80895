/**
 * Whose share of what is meant for strangers a request takes from: its IPv4 address, or the /64 of its IPv6 address, since who has one
 * address there has all of them. Behind a proxy everybody has the proxy's: nobody with an identity is counted by it.
 * @param env  what the listener gives the app with a request; anything else, as from tests or a function runtime, is one address
 */
export function clientAddress(env: unknown): string {
  const address = (env as { readonly incoming?: { readonly socket?: { readonly remoteAddress?: string } } } | undefined)?.incoming?.socket?.remoteAddress ?? "";
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined || !address.includes(":")) return mapped ?? address;
  const [head = "", tail] = address.replace(/%.*$/, "").split("::") as [string, string?];
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = [...before, ...Array<string>(Math.max(0, 8 - before.length - after.length)).fill("0"), ...after];
  return `${groups.slice(0, 4).join(":")}::/64`;
}
