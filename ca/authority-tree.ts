import type { AuthorityState, AuthorityType } from "./contract/authorities.ts";

/** An authority's place among the others. */
export interface AuthorityPlace {
  readonly id: string;
  readonly type: AuthorityType;
  readonly state: AuthorityState;
  readonly parentId?: string;
}

/**
 * Whether an authority is in the bundle: also a tainted root, so that its holders can talk while they renew. A tainted JWT key is not:
 * its tokens end in minutes, and whoever has it could make them for everybody.
 */
export function isPublished({ type, state }: Pick<AuthorityPlace, "type" | "state">): boolean {
  return type === "root" ? !isOver(state) : type === "jwt" && !isOver(state) && state !== "tainted";
}

/** Whether an authority is at its end: nothing changes it any more. */
export function isOver(state: AuthorityState): boolean {
  return state === "retired" || state === "revoked";
}

/** Itself and all below it that are not at their end; an issuer that does not say whose it is counts as below any root. */
export function familyOf<Place extends AuthorityPlace>({ id, type }: Pick<AuthorityPlace, "id" | "type">, places: readonly Place[]): readonly Place[] {
  const family = new Set([id]);
  // Root, intermediate, issuer: each look finds one more generation.
  for (let generation = 1; generation < generations; generation++) {
    for (const place of places) {
      const isBelow = place.parentId === undefined ? type === "root" && place.type !== "root" && place.type !== "jwt" : family.has(place.parentId);
      if (isBelow) family.add(place.id);
    }
  }
  return places.filter((place) => family.has(place.id) && (place.id === id || !isOver(place.state)));
}

/** RFC 5280 4.1.2.5: notAfter is inclusive, and its clock has whole seconds. */
export function isValidAt(notAfterMs: number, nowMs: number): boolean {
  return notAfterMs + 1000 > nowMs;
}

const generations = 3;
