import type { CheckpointRow, EntryRow } from "../store/rows/log.ts";
import { parseCheckpoint, type Checkpoint } from "./checkpoint.ts";
import { explainLeaf, explainRoot } from "./explain.ts";
import { appendLeaf, emptyRange, hashLeaf, heightPerLevel, rootOf, type CompactRange } from "./merkle.ts";
import { misfit, type Misfit } from "./misfit.ts";
import { parseNote, verifyNote, type VerifierKey } from "./note.ts";
import { refusalOf } from "./errors.ts";
import type { LogReader } from "./verify.ts";

export interface TreeFits {
  readonly ok: true;
  readonly size: number;
  readonly root: Uint8Array;
  readonly checkpoints: number;
}

/**
 * Verifies the log from the front, from one kept checkpoint to the next: what a good one seals is settled, so the first that
 * does not fit tells between which two entries to look.
 * @param outside  checkpoints kept elsewhere, signatures verified, in any order
 */
export async function verifyTree({ source, key, outside, onEntries }: {
  readonly source: LogReader;
  readonly key: VerifierKey | undefined;
  readonly outside: readonly Checkpoint[];
  readonly onEntries: (entries: number) => void;
}): Promise<TreeFits | Misfit> {
  const entries = entryCursor(source, onEntries);
  const subtrees = subtreeComparer(source);
  const fork = forkFinder(outside);
  let sealed: CompactRange = emptyRange;
  let checkpoints = 0;
  let missed = fork.check(sealed);

  for (;;) {
    const rows = await source.checkpoints({ after: checkpoints === 0 ? -1 : sealed.size, limit: pageSize });
    if (rows.length === 0) {
      const unsealed = await entries.peek();
      if (unsealed === undefined) break;
      // The CA goes on: an entry we see has its checkpoint, from the same commit, unless somebody took it away.
      if ((await source.checkpoints({ after: sealed.size, limit: 1 })).length > 0) continue;
      return misfit("unsealed", unsealed.index, `No checkpoint seals entry ${unsealed.index} and what follows it. Each ` +
        "commit keeps one, so it was removed, or the entries were added by other hands than the CA's.");
    }
    for (const row of rows) {
      const onRange = (range: CompactRange) => { missed ??= fork.check(range); };
      const segment = await readSegment(sealed, row, entries, source, onRange, subtrees.expect);
      if ("kind" in segment) return segment.kind === "truncated" ? refuseCheckpoint(row, sealed, key) ?? segment : segment;
      const refused = refuseCheckpoint(row, sealed, key);
      if (refused) return refused;
      if (!equal(parseCheckpoint(parseNote(row.note)).root, rootOf(segment))) return explainRoot({ source, sealed, row });
      const wrong = await subtrees.compare();
      if (wrong) return wrong;
      if (missed) return missed;
      sealed = segment;
      checkpoints += 1;
    }
  }
  const wrong = fork.beyond(sealed) ?? await subtrees.beyond(sealed);
  return wrong ?? { ok: true, size: sealed.size, root: rootOf(sealed), checkpoints };
}

/** Adds the entries up to the checkpoint's size, each checked for its place and its leaf hash. */
async function readSegment(
  sealed: CompactRange, row: CheckpointRow, entries: EntryCursor, source: LogReader,
  onRange: (range: CompactRange) => void, onSubtree: (level: number, index: number, hash: Uint8Array) => void,
): Promise<CompactRange | Misfit> {
  let range = sealed;
  while (range.size < row.size) {
    const entry = await entries.next();
    if (entry === undefined) {
      return misfit("truncated", [range.size, row.size - 1], `The log ends after ${range.size} entries, but a checkpoint ` +
        `in the same store says it had ${row.size}: entries ${range.size} to ${row.size - 1} were cut off.`);
    }
    if (entry.index !== range.size) {
      return misfit("removed", [range.size, entry.index - 1], `${counted(entry.index - range.size)} missing between ` +
        `entry ${range.size - 1} and entry ${entry.index}, where the log goes on.`);
    }
    const leafHash = hashLeaf(entry.body);
    if (!equal(leafHash, entry.leafHash)) return explainLeaf(entry, leafHash, source);
    range = appendLeaf(range, leafHash, onSubtree);
    onRange(range);
  }
  return range;
}

/** Why a kept checkpoint is none of this log's, or undefined. */
function refuseCheckpoint(row: CheckpointRow, sealed: CompactRange, key: VerifierKey | undefined): Misfit | undefined {
  const at = [sealed.size, Math.max(sealed.size, row.size - 1)] as const;
  const name = `The checkpoint over ${row.size} entries`;
  if (row.size <= sealed.size && sealed.size > 0) return misfit("checkpoint", at, `${name} comes behind one over ` +
    `${sealed.size}.`);
  if (key === undefined) return misfit("unknown_key", at, "The store names no key of the log, and none was given.");
  const refused = refusalOf(() => {
    const note = parseNote(row.note);
    verifyNote(note, [key]);
    parseCheckpoint(note);
  });
  if (refused?.code === "note_unverified") {
    return misfit("unknown_key", at, `${name} is not signed with the log's key: ${refused.message}. Either somebody ` +
      "without the key sealed the log anew, or this is the key of another log.");
  }
  if (refused) {
    return misfit("checkpoint", at, `${name} is not as the log signed it: ${refused.message}. Whoever wrote it does not ` +
      `have the log's key, and nothing behind entry ${sealed.size - 1} can be relied on.`);
  }
  const { origin, size } = parseCheckpoint(parseNote(row.note));
  if (origin !== key.name) return misfit("checkpoint", at, `${name} is of another log: ${origin}, not ${key.name}.`);
  if (size !== row.size) return misfit("checkpoint", at, `${name} was signed over ${size}: it was put in another's place.`);
  return undefined;
}

/** Holds checkpoints kept elsewhere against the tree as it passes their sizes. */
function forkFinder(outside: readonly Checkpoint[]) {
  const ascending = outside.toSorted((one, other) => one.size - other.size);
  let next = 0;
  let agreed = 0;
  return {
    check(range: CompactRange): Misfit | undefined {
      for (let checkpoint = ascending[next]; checkpoint?.size === range.size; checkpoint = ascending[++next]) {
        if (!equal(checkpoint.root, rootOf(range))) {
          return misfit("forked", [agreed, Math.max(agreed, range.size - 1)], "The log fits its own checkpoints but not " +
            `the one over ${range.size} entries that was kept elsewhere, and both are signed with the log's key: there ` +
            "were two histories. Whoever wrote this one had the key, or a database was restored from a backup and went " +
            "on from there.");
        }
        agreed = range.size;
      }
      return undefined;
    },
    /** Checkpoints over more than the log has. */
    beyond({ size }: CompactRange): Misfit | undefined {
      const last = ascending.at(-1);
      if (last === undefined || last.size <= size) return undefined;
      return misfit("truncated", [size, last.size - 1], `The log has ${size} entries, but a checkpoint kept elsewhere ` +
        `says it had ${last.size}: entries ${size} to ${last.size - 1} were cut off together with their checkpoints, or ` +
        "an old backup was restored.");
    },
  };
}

/** Collects the subtree hashes of a segment and compares them with the stored ones once the segment is known to be good. */
function subtreeComparer(source: LogReader) {
  let expected: { readonly level: number; readonly index: number; readonly hash: Uint8Array }[] = [];
  const pages = new Map<number, { readonly start: number; readonly hashes: readonly Uint8Array[] }>();
  const differs = (level: number, index: number) => {
    const width = 2 ** (heightPerLevel * level);
    return misfit("subtree", [index * width, (index + 1) * width - 1], "The stored hash over these entries (level " +
      `${level}, number ${index}) is not theirs. The entries themselves fit; proofs made from this hash would not hold.`);
  };
  const stored = async (level: number, index: number) => {
    let page = pages.get(level);
    if (page === undefined || index >= page.start + page.hashes.length) {
      page = { start: index, hashes: await source.subtreeHashes({ level, start: index, limit: pageSize }) };
      pages.set(level, page);
    }
    return page.hashes[index - page.start];
  };
  return {
    expect(level: number, index: number, hash: Uint8Array): void {
      expected.push({ level, index, hash });
    },
    async compare(): Promise<Misfit | undefined> {
      for (const { level, index, hash } of expected) {
        const found = await stored(level, index);
        if (found === undefined || !equal(found, hash)) return differs(level, index);
      }
      expected = [];
      return undefined;
    },
    /** A subtree hash over more entries than there are is what a careless cut leaves behind. */
    async beyond({ size }: CompactRange): Promise<Misfit | undefined> {
      const width = 2 ** heightPerLevel;
      const index = Math.floor(size / width);
      const [extra] = await source.subtreeHashes({ level: 1, start: index, limit: 1 });
      if (extra === undefined || (await source.entries({ start: size, limit: 1 })).length > 0) return undefined;
      return misfit("truncated", [size, (index + 1) * width - 1], `The log ends after ${size} entries, but the store ` +
        `keeps a hash over entries ${index * width} to ${(index + 1) * width - 1}: the end was cut off together with its ` +
        "checkpoints.");
    },
  };
}

interface EntryCursor {
  next(): Promise<EntryRow | undefined>;
  /** The next entry, which stays the next one. */
  peek(): Promise<EntryRow | undefined>;
}

function entryCursor(source: LogReader, onEntries: (entries: number) => void): EntryCursor {
  let page: readonly EntryRow[] = [];
  let at = 0;
  let start = 0;
  const peek = async () => {
    if (at === page.length) {
      onEntries(start);
      page = await source.entries({ start, limit: pageSize });
      at = 0;
    }
    return page[at];
  };
  return {
    peek,
    async next() {
      const entry = await peek();
      if (entry !== undefined) [at, start] = [at + 1, entry.index + 1];
      return entry;
    },
  };
}

function counted(count: number): string {
  return count === 1 ? "1 entry is" : `${count} entries are`;
}

function equal(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

/** Rows read at a time: some 600 bytes each. */
const pageSize = 1000;
