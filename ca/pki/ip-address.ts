import { isIPv4, isIPv6 } from "node:net";
import { PkiError } from "./errors.ts";

/**
 * Octets of an IP address in text, as an iPAddress name holds them: 4 or 16.
 * @throws {PkiError} ip_address_malformed, also for a zone such as `%eth0`
 * @source RFC 5280 section 4.2.1.6
 */
export function parseIpAddress(text: string): Uint8Array {
  if (isIPv4(text)) return Uint8Array.from(text.split(".").map(Number));
  if (isIPv6(text) && !text.includes("%")) return parseIpv6(text);
  throw new PkiError("ip_address_malformed", "not an IP address: expected a form such as 10.0.0.1 or fd00::1");
}

/**
 * Address and mask of a range in text (`10.0.0.0/8`), as a name constraint holds them: 8 or 32 octets.
 * @throws {PkiError} ip_address_malformed, also when bits are set behind the prefix
 * @source RFC 5280 section 4.2.1.10
 */
export function parseIpRange(text: string): Uint8Array {
  const [, addressText = "", prefixText = ""] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const address = parseIpAddress(addressText);
  const prefixBits = Number(prefixText);
  if (prefixBits > address.length * 8) throw new PkiError("ip_address_malformed", `a prefix of ${prefixBits} bits is too long`);
  const mask = address.map((_, index) => (0xff00 >> Math.min(8, Math.max(0, prefixBits - index * 8))) & 0xff);
  if (address.some((octet, index) => (octet & ~mask[index]!) !== 0)) {
    throw new PkiError("ip_address_malformed", "the address of a range has bits set behind the prefix");
  }
  return Uint8Array.of(...address, ...mask);
}

/** An IPv4 address in the form of IPv6, as a listener for both sees it, as what it is; any other as it is. @source RFC 4291 section 2.5.5.2 */
export function plainAddress(address: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
}

/**
 * Who is counted as one where everybody gets a share: an IPv4 address, or the /64 of an IPv6 address, since who has one address there
 * has all of them.
 * @param address  as Node.js tells it; anything but an address is one by itself
 */
export function networkOf(address: string): string {
  const plain = plainAddress(address);
  if (!plain.includes(":")) return plain;
  const [head = "", tail] = plain.replace(/%.*$/, "").split("::") as [string, string?];
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = [...before, ...Array<string>(Math.max(0, 8 - before.length - after.length)).fill("0"), ...after];
  return `${groups.slice(0, 4).join(":")}::/64`;
}

/** The text is known to be valid, so at most one `::` and the right number of groups. */
function parseIpv6(text: string): Uint8Array {
  // The last two groups may be written as an IPv4 address.
  const hex = text.replace(/\d+\.\d+\.\d+\.\d+$/, (ipv4) => {
    const [a = 0, b = 0, c = 0, d = 0] = ipv4.split(".").map(Number);
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  });
  const [head = "", tail = ""] = hex.split("::");
  const groupsOf = (part: string): number[] => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const [before, after] = [groupsOf(head), groupsOf(tail)];
  const groups = [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}
