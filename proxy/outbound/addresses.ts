import { formatSocketAddress, type SocketAddress } from "../address.ts";
import type { WeightedAddress } from "./dial.ts";

/** Which address of several is tried first, and which after it. */
export interface AddressOrder {
  /** At most `maxAttempts`, drawn by weight; those that failed lately come last. */
  of(addresses: readonly WeightedAddress[]): readonly SocketAddress[];
  failed(address: SocketAddress): void;
}

/** @param now  milliseconds since the epoch @param random  uniform in [0, 1) */
export function addressOrder(now: () => number, random: () => number): AddressOrder {
  /** Address -> until when it is passed over. */
  const avoided = new Map<string, number>();

  function isAvoided(address: SocketAddress): boolean {
    if (avoided.size === 0) return false;
    const untilMs = avoided.get(formatSocketAddress(address));
    // A clock that was set back must not avoid it for ever.
    return untilMs !== undefined && now() < untilMs && untilMs <= now() + avoidedMs;
  }

  return {
    of(addresses) {
      if (addresses.length === 1) return addresses;
      // The smallest of exponential variables with these rates: each order is as likely as if drawn one after another by weight.
      const drawn = addresses.map((address) => ({ address, late: isAvoided(address), at: -Math.log(1 - random()) / address.weight }));
      drawn.sort((one, other) => Number(one.late) - Number(other.late) || one.at - other.at);
      return drawn.slice(0, maxAttempts).map(({ address }) => address);
    },
    failed(address) {
      const key = formatSocketAddress(address);
      avoided.delete(key);
      avoided.set(key, now() + avoidedMs);
      const [oldest] = avoided.size > maxAvoided ? avoided.keys() : [];
      if (oldest !== undefined) avoided.delete(oldest);
    },
  };
}

/** Each may take the connect and the handshake timeout, and the app waits for all. */
const maxAttempts = 3;
const avoidedMs = 10_000;
const maxAvoided = 1024;
