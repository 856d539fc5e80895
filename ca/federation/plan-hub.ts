import type { DocumentChange, DocumentSet } from "../documents.ts";
import { maxRelationships, relationshipsOf, type HeldRelationship, type Relationship, type StoredHub } from "./documents.ts";
import { FederationError } from "./errors.ts";
import { trustDomainOfKey, type HubMembers } from "./hub-notes.ts";

/** A hub this CA subscribes to. */
export interface HeldHub extends Omit<StoredHub, "added"> {
  readonly name: string;
  readonly addedAtMs: number;
  readonly addedBy: string;
}

/** All hubs of a set of documents, by name. */
export function hubsOf({ byKind }: DocumentSet): ReadonlyMap<string, HeldHub> {
  return new Map([...byKind["federation-hub"]].map(([name, row]) => {
    const { added = { atMs: row.changedAtMs, by: row.changedBy }, ...hub } = JSON.parse(row.body) as StoredHub;
    return [name, { ...hub, name, addedAtMs: added.atMs, addedBy: added.by }];
  }));
}

export interface HubReading {
  readonly own: string;
  readonly name: string;
  /** Undefined: the hub is left. */
  readonly members: HubMembers | undefined;
  readonly nowMs: number;
}

export interface HubPlan {
  readonly changes: readonly DocumentChange[];
  /** Members that are federated with by another way, which stays. */
  readonly kept: readonly string[];
}

/**
 * What a hub's list changes: who is new in it is added, known by the key it has there; who has another key there is known by that from now on;
 * who is in it no more is removed. Whoever came by another way is not the hub's to change. Pure.
 * @throws {FederationError} hub_refused: an old list, one that has ended, or more than there may be
 */
export function planHub(set: DocumentSet, { own, name, members, nowMs }: HubReading): HubPlan {
  const hub = hubsOf(set).get(name);
  if (hub === undefined) return { changes: [], kept: [] };
  const { list } = hub;
  if (members !== undefined && list !== undefined && members.sequence < list.sequence) {
    throw new FederationError("hub_refused", `its list ${members.sequence} is older than ${list.sequence}, which was taken already: whoever holds the hub shows an old one`);
  }
  // One number twice is its owner's mistake, as after a copy of its file was brought back; then the later one counts, and whoever holds the hub cannot choose.
  if (members !== undefined && list !== undefined && members.sequence === list.sequence && members.signedAtMs < Date.parse(list.signedAt)) {
    throw new FederationError("hub_refused", `its list ${members.sequence} was signed before the one of that number that was taken already (${list.signedAt}): whoever holds the hub shows an old one`);
  }
  if (members?.validUntilMs !== undefined && members.validUntilMs <= nowMs) {
    throw new FederationError("hub_refused", `its list ended at ${new Date(members.validUntilMs).toISOString()}: its owner renews it with countersign federation hub renew, or whoever holds the hub keeps the next one back`);
  }
  const known = relationshipsOf(set);
  const wanted = new Map((members?.keys ?? []).map((key) => [trustDomainOfKey(key), key]));
  wanted.delete(own);
  for (const excluded of hub.excluded ?? []) wanted.delete(excluded);

  const gone = [...known.values()].filter((one) => one.hub?.name === name && !wanted.has(one.trustDomain));
  const fresh = [...wanted].filter(([trustDomain]) => !known.has(trustDomain));
  const changed = [...wanted].filter(([trustDomain, key]) => known.get(trustDomain)?.hub?.name === name && known.get(trustDomain)?.hub?.key !== key);
  if (known.size - gone.length + fresh.length > maxRelationships) throw new FederationError("hub_refused", `with its members there would be more than ${maxRelationships} relationships`);
  const entryOf = (trustDomain: string, key: string): Relationship => (
    { trustDomain, profile: "https_web", endpointUrl: new URL(hubBundleFile(trustDomain), hub.url).href, hub: { name, key } }
  );
  const newList = members !== undefined && (members.sequence !== list?.sequence || members.signedAtMs !== Date.parse(list.signedAt));
  return {
    changes: [
      ...gone.flatMap((one) => removal(one)),
      ...fresh.map(([trustDomain, key]) => ({ kind: "federation", name: trustDomain, document: entryOf(trustDomain, key) }) as const),
      ...changed.map(([trustDomain, key]) => {
        const { addedAtMs: atMs, addedBy: by } = known.get(trustDomain)!;
        return { kind: "federation", name: trustDomain, document: { ...entryOf(trustDomain, key), added: { atMs, by } } satisfies Relationship } as const;
      }),
      ...(newList ? [{ kind: "federation-hub", name, document: storedHub(hub, { list: storedList(members) }) } as const] : []),
    ],
    kept: [...wanted.keys()].filter((trustDomain) => known.has(trustDomain) && known.get(trustDomain)?.hub?.name !== name),
  };
}

/** Whether nobody is to be believed by its list any more. */
export function isEnded({ list }: HeldHub, nowMs: number): boolean {
  return list?.validUntil !== undefined && Date.parse(list.validUntil) <= nowMs;
}

/** A member that an admin removes: the hub has it still, and must not bring it back. */
export function excludeFromHub(set: DocumentSet, { trustDomain, hub: by }: HeldRelationship): readonly DocumentChange[] {
  const hub = by && hubsOf(set).get(by.name);
  return hub === undefined ? [] : [{ kind: "federation-hub", name: hub.name, document: storedHub(hub, { excluded: [...new Set([...(hub.excluded ?? []), trustDomain])] }) }];
}

/** A hub as it is stored, changed. */
export function storedHub({ url, key, list, excluded, addedAtMs: atMs, addedBy: by }: HeldHub, change: Partial<Pick<StoredHub, "list" | "excluded">>): StoredHub {
  return { url, key, ...(list && { list }), ...(excluded && { excluded }), ...change, added: { atMs, by } };
}

function storedList({ sequence, signedAtMs, validUntilMs, keys }: HubMembers): StoredHub["list"] & object {
  return { sequence, signedAt: new Date(signedAtMs).toISOString(), ...(validUntilMs !== undefined && { validUntil: new Date(validUntilMs).toISOString() }), members: keys.length };
}

/** Where in a hub a member's signed bundle is. */
export function hubBundleFile(trustDomain: string): string {
  return `${trustDomain}.bundle.note`;
}

/** Documents of a relationship and its bundle. */
export function removal({ trustDomain, held }: HeldRelationship): readonly DocumentChange[] {
  return [{ kind: "federation", name: trustDomain }, ...(held === undefined ? [] : [{ kind: "foreign-bundle", name: trustDomain } as const])];
}
