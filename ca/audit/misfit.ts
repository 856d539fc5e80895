/** The first thing in a log or its tables that does not fit. */
export interface Misfit {
  readonly ok: false;
  readonly kind: MisfitKind;
  /** Index of the entry, or of the first of those among which it is; undefined where no entry is to blame. */
  readonly firstIndex?: number;
  /** Last index when it is a range, a pair that changed places, or what was cut off. */
  readonly lastIndex?: number;
  /** What was found, what it means and how sure it is: some sentences. */
  readonly message: string;
}

export type MisfitKind =
  /** An entry's text is not the one that was sealed. */
  | "altered"
  | "removed"
  | "inserted"
  | "reordered"
  /** The end of the log is gone: a signed checkpoint is over more entries than there are. */
  | "truncated"
  /** The log fits itself but not a checkpoint kept elsewhere: there were two histories. */
  | "forked"
  /** Entries at the end that no checkpoint seals. */
  | "unsealed"
  /** A checkpoint that is not one, or not as the log's key signed it. */
  | "checkpoint"
  /** Sealed with another key than the expected one. */
  | "unknown_key"
  /** A stored subtree hash, from which proofs are made, is not that of the entries. */
  | "subtree"
  | "entry_without_row"
  | "row_without_entry"
  /** A row says something else than its entry. */
  | "row_differs";

/** Makes a misfit: of one entry, of `[firstIndex, lastIndex]`, or of none. */
export function misfit(kind: MisfitKind, at: number | readonly [number, number] | undefined, message: string): Misfit {
  // What an attacker wrote is repeated here, and somebody's terminal will show it.
  const shown = message.toWellFormed().replaceAll(/\p{Cc}|\p{Cf}/gu, "\ufffd");
  if (at === undefined) return { ok: false, kind, message: shown };
  const [firstIndex, lastIndex] = typeof at === "number" ? [at, at] : at;
  return { ok: false, kind, firstIndex, ...(lastIndex > firstIndex && { lastIndex }), message: shown };
}
