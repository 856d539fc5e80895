import type { EdgeGroups } from "../contract/edges.ts";
import type { Talk } from "./edge-tally.ts";

type Pair = Pick<Talk, "clientId" | "serverId" | "secured" | "reason">;

/**
 * Puts talks together by the first parts of the IDs, as few as fit: workloads by themselves where they do, else by namespace, say, else
 * by trust domain. Where one step is too many groups and the next one is nearly none, those with most talks stay and the others are one.
 * @param most  groups, 3 or more
 */
export function groupTalks(talks: readonly Pair[], most: number): EdgeGroups {
  const ids = new Set<string>();
  for (const { clientId, serverId } of talks) ids.add(clientId).add(serverId);
  const groups: { readonly name: string; members: number }[] = [];
  const placeOfName = new Map<string, number>();
  const placeOf = new Map<string, number>();
  for (const [id, name] of nameByParts([...ids], talks, most)) {
    const place = placeOfName.get(name) ?? groups.push({ name, members: 0 }) - 1;
    placeOfName.set(name, place);
    placeOf.set(id, place);
    groups[place]!.members += 1;
  }
  const links = new Map<number, { readonly from: number; readonly to: number; edges: number; unsecured: number; reason?: string }>();
  for (const { clientId, serverId, secured, reason } of talks) {
    const [from, to] = [placeOf.get(clientId)!, placeOf.get(serverId)!];
    const key = from * groups.length + to;
    const link = links.get(key) ?? { from, to, edges: 0, unsecured: 0 };
    links.set(key, link);
    link.edges += 1;
    if (secured) continue;
    link.unsecured += 1;
    link.reason ??= reason ?? "unknown";
  }
  // What is not secured is always told.
  const byWeight = [...links.values()].sort((a, b) => b.unsecured - a.unsecured || b.edges - a.edges || a.from - b.from || a.to - b.to);
  return { groups, links: byWeight.slice(0, most * linksOfGroup), leftOut: Math.max(0, byWeight.length - most * linksOfGroup) };
}

/** The group of each ID. */
function nameByParts(ids: readonly string[], talks: readonly Pair[], most: number): ReadonlyMap<string, string> {
  if (ids.length <= most) return new Map(ids.map((id) => [id, id]));
  const namesOf = (parts: number): ReadonlyMap<string, string> => new Map(ids.map((id) => [id, cut(id, parts)]));
  const countOf = (parts: number): number => new Set(namesOf(parts).values()).size;
  const whole = ids.reduce((deepest, id) => Math.max(deepest, partsOf(id)), 0);
  // With more parts there are never fewer groups.
  const tooMany = firstWith(whole, (parts) => countOf(parts) > most);
  const count = tooMany === 0 ? 0 : countOf(tooMany - 1);
  if (count < fewest) return withOthers(namesOf(tooMany), talks, most);
  // Of two that tell as much, the shorter one: without a last part that all have.
  return namesOf(firstWith(tooMany - 1, (parts) => countOf(parts) >= count));
}

/** The lowest number for which it holds, as it does from there on; `last`, which is not asked about, where it holds for none below. */
function firstWith(last: number, holds: (number: number) => boolean): number {
  let [low, high] = [0, last];
  while (low < high) {
    // By leaps and halves: whoever reports an ID makes it up, with a thousand parts if it likes, and each look goes through all IDs.
    const next = Math.min(Math.floor((low + high) / 2), 2 * low + 1);
    if (holds(next)) high = next;
    else low = next + 1;
  }
  return low;
}

/** Those with most talks, and all others as one. */
function withOthers(names: ReadonlyMap<string, string>, talks: readonly Pair[], most: number): ReadonlyMap<string, string> {
  const weights = new Map<string, number>();
  for (const { clientId, serverId } of talks) for (const id of [clientId, serverId]) weights.set(names.get(id)!, (weights.get(names.get(id)!) ?? 0) + 1);
  const kept = new Set([...weights].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).slice(0, most - 1).map(([name]) => name));
  return new Map([...names].map(([id, name]) => [id, kept.has(name) ? name : "*"]));
}

/** `spiffe://east/ns/shop/sa/cart` of two parts: `spiffe://east/ns/shop`. */
function cut(id: string, parts: number): string {
  let end = slashesOfDomain;
  for (let left = parts; left >= 0 && end >= 0; left--) end = id.indexOf("/", end + 1);
  return end < 0 ? id : id.slice(0, end);
}

/** Of the path. */
function partsOf(id: string): number {
  let parts = 0;
  for (let at = id.indexOf("/", slashesOfDomain + 1); at >= 0; at = id.indexOf("/", at + 1)) parts += 1;
  return parts;
}

/** Where the second slash of `spiffe://` is. */
const slashesOfDomain = 8;
/** Fewer tell nothing. */
const fewest = 4;
const linksOfGroup = 4;
