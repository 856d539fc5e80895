import { isIP } from "node:net";
import { networkOf } from "../pki/ip-address.ts";

/**
 * Whose share of what is meant for strangers a request takes from: its network. Behind a proxy everybody has the proxy's: nobody with an
 * identity is counted by it.
 * @param env  what the listener gives the app with a request, or the function runtime (`clientIp`); anything else, as from tests, is one address
 * @param forwarders  how many proxies stand before us that append whom they saw to X-Forwarded-For; what came before theirs anybody may have written
 */
export function clientAddress(env: unknown, forwarders = 0, forwardedFor: string | null = null): string {
  const { clientIp, incoming } = (env ?? {}) as { readonly clientIp?: string; readonly incoming?: { readonly socket?: { readonly remoteAddress?: string } } };
  return networkOf(forwardedBy(forwarders, forwardedFor) ?? clientIp ?? incoming?.socket?.remoteAddress ?? "");
}

/** Whom the outermost of so many forwarders saw; undefined where fewer have written. */
function forwardedBy(forwarders: number, forwardedFor: string | null): string | undefined {
  if (forwarders === 0 || forwardedFor === null) return undefined;
  const address = forwardedFor.split(",").at(-forwarders)?.trim();
  return address === undefined || isIP(address) === 0 ? undefined : address;
}
