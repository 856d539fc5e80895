import type { Store } from "../store/store.ts";
import { AuditError } from "./errors.ts";
import { hashChildren, heightPerLevel } from "./merkle.ts";

/** What proofs are made of: a store, or anything else that keeps leaf hashes and the roots of whole subtrees. */
export type ProofSource = Pick<Store, "entries" | "subtreeHashes">;

/**
 * Proves that entry `index` is in the log as it was at `size`. Reads at most 512 hashes for each factor of 256 in the size.
 * @returns  32-byte hashes from the leaf's sibling to the root's child; none for a log of one entry
 * @throws {AuditError} proof_out_of_range unless 0 <= index < size; proof_source_incomplete if stored hashes are missing
 * @source RFC 6962 2.1.1
 */
export async function inclusionProof(index: number, size: number, source: ProofSource): Promise<readonly Uint8Array[]> {
  if (!isCount(index) || !isCount(size) || index >= size) {
    throw new AuditError("proof_out_of_range", `entry ${index} is not in a log of ${size} entries: indexes start at 0 ` +
      "and end at size - 1");
  }
  return hashRanges(inclusionRanges(index, { start: 0, end: size }), source, size);
}

/**
 * Proves that the log at `size` is the log at `oldSize` with entries added behind it, and nothing else.
 * @returns  32-byte hashes; none when the sizes are equal or `oldSize` is 0, since every log begins with the empty one
 * @throws {AuditError} proof_out_of_range unless 0 <= oldSize <= size; proof_source_incomplete if stored hashes are missing
 * @source RFC 6962 2.1.2
 */
export async function consistencyProof(oldSize: number, size: number, source: ProofSource): Promise<readonly Uint8Array[]> {
  if (!isCount(oldSize) || !isCount(size) || oldSize > size) {
    throw new AuditError("proof_out_of_range", `a log of ${size} entries was never one of ${oldSize}: the old size comes ` +
      "first and is the smaller");
  }
  if (oldSize === 0) return [];
  return hashRanges(consistencyRanges(oldSize, { start: 0, end: size }, true), source, size);
}

/** Entries `start` up to and without `end`: a node of the tree. */
interface Range {
  readonly start: number;
  readonly end: number;
}

function inclusionRanges(index: number, { start, end }: Range): readonly Range[] {
  if (end - start === 1) return [];
  const middle = start + splitOf(end - start);
  const [left, right] = [{ start, end: middle }, { start: middle, end }];
  return index < middle ? [...inclusionRanges(index, left), right] : [...inclusionRanges(index, right), left];
}

/** SUBPROOF of the RFC; `whole` is its b: the old log is a node of the tree whose root the verifier has. */
function consistencyRanges(oldEnd: number, { start, end }: Range, whole: boolean): readonly Range[] {
  if (oldEnd === end) return whole ? [] : [{ start, end }];
  const middle = start + splitOf(end - start);
  const [left, right] = [{ start, end: middle }, { start: middle, end }];
  return oldEnd <= middle
    ? [...consistencyRanges(oldEnd, left, whole), right]
    : [...consistencyRanges(oldEnd, right, false), left];
}

/** The hash of each range. What is read is read in tiles of 256 hashes, each once: siblings share them. */
async function hashRanges(ranges: readonly Range[], source: ProofSource, size: number): Promise<readonly Uint8Array[]> {
  const tiles = new Map<string, readonly Uint8Array[]>();
  const hashes: Uint8Array[] = [];
  for (const range of ranges) {
    const parts: Uint8Array[] = [];
    for (let { start } = range; start < range.end;) {
      const height = perfectHeight(range.end - start);
      parts.push(await hashPerfect(height, start / 2 ** height));
      start += 2 ** height;
    }
    hashes.push(parts.reduceRight((right, left) => hashChildren(left, right)));
  }
  return hashes;

  /** Root over entries [index * 2^height, (index + 1) * 2^height). */
  async function hashPerfect(height: number, index: number): Promise<Uint8Array> {
    const level = Math.floor(height / heightPerLevel);
    const width = 2 ** (height % heightPerLevel);
    const first = index * width;
    const tile = await readTile(level, Math.floor(first / hashesPerTile));
    let row = tile.slice(first % hashesPerTile, (first % hashesPerTile) + width);
    if (row.length !== width) {
      throw new AuditError("proof_source_incomplete", `the store lacks hashes of level ${level} for a log of ${size} ` +
        "entries; run: countersign audit verify");
    }
    while (row.length > 1) {
      row = Array.from({ length: row.length / 2 }, (_, pair) => hashChildren(row[2 * pair]!, row[2 * pair + 1]!));
    }
    return row[0]!;
  }

  async function readTile(level: number, tile: number): Promise<readonly Uint8Array[]> {
    const key = `${level}/${tile}`;
    const kept = tiles.get(key);
    if (kept) return kept;
    const start = tile * hashesPerTile;
    const limit = Math.min(hashesPerTile, Math.floor(size / hashesPerTile ** level) - start);
    const read = level === 0
      ? (await source.entries({ start, limit })).map((entry) => entry.leafHash)
      : await source.subtreeHashes({ level, start, limit });
    tiles.set(key, read);
    return read;
  }
}

/** Largest power of two below `count`. Counted up, not shifted or taken from a logarithm: exact to 2^53. */
function splitOf(count: number): number {
  let split = 1;
  while (split * 2 < count) split *= 2;
  return split;
}

/** Height of the largest perfect tree that fits into `count` leaves. */
function perfectHeight(count: number): number {
  let height = 0;
  while (2 ** (height + 1) <= count) height += 1;
  return height;
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

const hashesPerTile = 2 ** heightPerLevel;
