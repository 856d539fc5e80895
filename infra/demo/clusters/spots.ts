import { canMakeNamespaces, makeNamespaces } from "../namespaces.ts";
import { freePort, type Place } from "../place.ts";

/** Where a cluster can be: a place, but for somebody there who looks around. */
export type Spot = Omit<Place, "status">;

/** Spots that reach each other by their addresses. */
export interface Spots {
  readonly kind: "network namespaces" | "loopback addresses";
  readonly of: (name: string) => Spot;
  /** Whatever runs there has to be ended before. */
  remove(): void;
}

/** A network namespace for each name where this machine lets us make some, else an address of its own on loopback. */
export async function makeSpots(names: readonly string[]): Promise<Spots> {
  if (canMakeNamespaces()) {
    const { hosts, remove } = makeNamespaces(names);
    return {
      kind: "network namespaces", remove,
      of(name) {
        const { namespace, address } = hosts[name]!;
        // Nobody else is there, so every port is free.
        return { address, loopback: "127.0.0.1", enter: ["ip", "netns", "exec", namespace], port: async (preferred = 0) => preferred };
      },
    };
  }
  const hasWholeLoopback = await freePort(undefined, "127.0.1.1").then(() => true, () => false);
  return {
    kind: "loopback addresses", remove: () => undefined,
    of(name) {
      const address = hasWholeLoopback ? `127.0.${names.indexOf(name) + 1}.1` : "127.0.0.1";
      return { address, loopback: address, enter: [], port: (preferred) => freePort(preferred, address) };
    },
  };
}
