import type { DocumentSet } from "../documents.ts";
import { relationshipsOf } from "./documents.ts";

/** A `FederationNotice` as text, since bundles have sequences of 64 bits. */
export interface EncodedNotice {
  readonly json: string;
  /** Bundles that changed up to this one are in it. */
  readonly sequence: number;
  /** More wait behind `sequence`. */
  readonly more: boolean;
}

/**
 * What changed behind `after`: the trust domains of now, and the bundles that are newer. Pure.
 * @param maxChars  of bundles together, but one fits always
 */
export function noticeSince(set: DocumentSet, after: number, maxChars = maxNoticeChars): EncodedNotice {
  const relationships = relationshipsOf(set);
  const changed = [...relationships].flatMap(([trustDomain, { held }]) => (held === undefined || held.sequence <= after ? [] : [{ trustDomain, held }]))
    .sort((one, other) => one.held.sequence - other.held.sequence);
  let taken = 0;
  for (let chars = 0; taken < changed.length; taken++) {
    const { held } = changed[taken]!;
    chars += held.bundle.length;
    // What changed in one commit has one sequence, and is told together.
    if (chars > maxChars && taken > 0 && held.sequence !== changed[taken - 1]!.held.sequence) break;
  }
  const more = taken < changed.length;
  const sequence = more ? changed[taken - 1]!.held.sequence : set.sequence;
  const bundles = changed.slice(0, taken).map(({ trustDomain, held }) => `${JSON.stringify(trustDomain)}:${held.bundle}`).join(",");
  return { json: `{"sequence":${sequence},"trustDomains":${JSON.stringify([...relationships.keys()])},"bundles":{${bundles}}}`, sequence, more };
}

/** A quarter of what a proxy takes as one event. */
const maxNoticeChars = 256 * 1024;
