import { parseCheckpoint } from "../audit/checkpoint.ts";
import type { CompactRange } from "../audit/merkle.ts";
import { hashBytes, rootOf } from "../audit/merkle.ts";
import { parseNote } from "../audit/note.ts";
import { StoreError } from "./errors.ts";
import type { CheckpointRow } from "./rows/log.ts";

/** The tree's head as the database keeps it. */
export interface HeadRow {
  readonly size: number;
  /** The hashes of the compact range, one after another. */
  readonly hashes: Uint8Array;
}

/** The head of a log without entries. */
export const emptyHead: HeadRow = { size: 0, hashes: new Uint8Array() };

/** What this process sealed last. */
export interface SealedHead {
  readonly range: CompactRange;
  readonly head: HeadRow;
  readonly checkpoint: CheckpointRow;
}

/**
 * Reads the stored head and holds it against the newest stored checkpoint, before anything is appended to it: what was signed
 * once is never contradicted (AUD-08).
 * @param last  what this process sealed last: a database that went back since then is refused too
 * @throws {StoreError} log_inconsistent
 */
export function readHead(row: HeadRow, newest: CheckpointRow | undefined, last?: SealedHead): CompactRange {
  // No other process has written since: the usual case, and 60 us of hashing spared.
  if (last !== undefined && isSame(last, row, newest)) return last.range;
  const head = decodeHead(row);
  if (newest === undefined) {
    if (head.size > 0) throw inconsistent(`it has ${head.size} entries and no checkpoint over them`);
  } else {
    const signed = readCheckpoint(newest);
    if (signed.size !== head.size) throw inconsistent(`its head is at ${head.size} entries, its newest checkpoint at ${signed.size}`);
    if (!equal(signed.root, rootOf(head))) throw inconsistent(`the newest checkpoint, over ${head.size} entries, has another root than the head`);
  }
  if (last !== undefined && head.size <= last.head.size) {
    throw inconsistent(`this process sealed it at ${last.head.size} entries and finds another head of ${head.size}: the database went back`);
  }
  return head;
}

/** The head as the database keeps it. */
export function encodeHead({ size, hashes }: CompactRange): HeadRow & { readonly hashes: Buffer } {
  return { size, hashes: Buffer.concat(hashes) };
}

function isSame({ head, checkpoint }: SealedHead, row: HeadRow, newest: CheckpointRow | undefined): boolean {
  return row.size === head.size && equal(row.hashes, head.hashes) && newest?.size === checkpoint.size && newest.note === checkpoint.note;
}

function decodeHead({ size, hashes }: HeadRow): CompactRange {
  const count = hashes.length / hashBytes;
  if (count !== countBits(size)) throw inconsistent(`its head claims ${size} entries and holds ${hashes.length} bytes of hashes`);
  return { size, hashes: Array.from({ length: count }, (_, index) => hashes.subarray(index * hashBytes, (index + 1) * hashBytes)) };
}

function readCheckpoint({ size, note }: CheckpointRow) {
  try {
    const signed = parseCheckpoint(parseNote(note));
    if (signed.size === size) return signed;
  } catch (cause) {
    throw inconsistent(`the newest checkpoint, over ${size} entries, cannot be read`, cause);
  }
  throw inconsistent(`the checkpoint kept for ${size} entries is over another size`);
}

function countBits(size: number): number {
  let bits = 0;
  // Divided, not shifted: JavaScript's shifts stop at 32 bits.
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) bits += rest % 2;
  return bits;
}

function equal(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}

function inconsistent(fact: string, cause?: unknown): StoreError {
  return new StoreError("log_inconsistent", `The audit log does not fit itself: ${fact}. Nothing is written to it until an operator has run \`countersign audit verify\` and restored what it names.`, { cause });
}
