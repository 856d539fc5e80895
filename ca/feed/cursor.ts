import type { FeedPosition } from "../store/rows/feed.ts";

/** How far a reader has come: the sequence of each source. The order is that of the numbers in an event's ID: new ones go to the end. */
export const sourceNames = ["bundle", "revocation", "renew", "policy", "tap", "federation"] as const;
export type SourceName = (typeof sourceNames)[number];
export type Cursor = Readonly<Record<SourceName, number>>;

/** Before everything. */
export const beginning: Cursor = { bundle: 0, revocation: 0, renew: 0, policy: 0, tap: 0, federation: 0 };

/** Where a reader is who has read everything. */
export function cursorAt({ bundleSequence, revocationSequence, announcementSequence, documentSequence, tapSequence }: FeedPosition): Cursor {
  return { bundle: bundleSequence, revocation: revocationSequence, renew: announcementSequence, policy: documentSequence, tap: tapSequence, federation: documentSequence };
}

/** Names a position in a feed; opaque to whoever is not this file. */
export function encodeEventId(feedEpoch: string, cursor: Cursor): string {
  return [feedEpoch, ...sourceNames.map((name) => cursor[name])].join(".");
}

/**
 * Where to go on for a reader that comes with this ID. A source that it knows nothing of, or more of than there is, begins anew:
 * the CA was restored from a backup.
 * @param id  as it came from the reader: anything
 */
export function resumeFrom(id: string | undefined, feedEpoch: string, newest: Cursor): Cursor {
  const [epoch, ...numbers] = id !== undefined && id.length <= maxIdLength ? id.split(".") : [];
  if (epoch !== feedEpoch) return beginning;
  return Object.fromEntries(sourceNames.map((name, index) => {
    const text = numbers[index] ?? "";
    const held = /^\d{1,16}$/.test(text) ? Number(text) : 0;
    return [name, held <= newest[name] ? held : 0];
  })) as Cursor;
}

/** True if nothing of `newest` is ahead of the cursor. */
export function isUpToDate(cursor: Cursor, newest: Cursor): boolean {
  return sourceNames.every((name) => cursor[name] >= newest[name]);
}

/** An epoch and six numbers stay below. */
const maxIdLength = 256;
