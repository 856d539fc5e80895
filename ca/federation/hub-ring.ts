import { sha256 } from "../pki/sha256.ts";
import { maxWitnesses } from "./hub-log.ts";

/**
 * Who witnesses whose log in a hub: each member's those that come after it, in the order of their names' hashes. All members see it alike,
 * without a word between them, and a small hub's witness each other.
 * @param members  trust domains, this one included
 * @returns        whether the witness is one of the log's
 */
export function witnessRing(members: readonly string[]): (witness: string, log: string) => boolean {
  const ring = members.map((name) => [sha256(name).toString("hex"), name] as const).sort(([one], [other]) => (one < other ? -1 : 1)).map(([, name]) => name);
  const placeOf = new Map(ring.map((name, place) => [name, place]));
  return (witness, log) => {
    const [from, to] = [placeOf.get(log), placeOf.get(witness)];
    return from !== undefined && to !== undefined && from !== to && (to - from + ring.length) % ring.length <= maxWitnesses;
  };
}
