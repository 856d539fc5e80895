import type { Store } from "./store.ts";

/** The part of a store that the feed reads. */
export type FeedReads = Pick<Store, "holdersBehind" | "feedPosition" | "announcements">;

/** notAfter is inclusive (RFC 5280 4.1.2.5), and its clock has whole seconds: what is later than this is still valid. */
export function livesAfter(nowMs: number): number {
  return nowMs - 1000;
}

/** Certificates whose holders follow no feed: the CA itself, and other CAs. */
export const withoutFeed = ["system", "issuer"] as const;
