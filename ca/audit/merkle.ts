import { sha256 } from "../pki/sha256.ts";

/**
 * The Merkle tree of RFC 6962 section 2.1, one leaf at a time. All that a growing log needs to remember is its compact
 * range: the roots of the perfect subtrees that its size is made of, the largest (leftmost) first.
 */
export interface CompactRange {
  /** Number of leaves, up to 2^53 - 1. */
  readonly size: number;
  /** One 32-byte hash for each bit set in `size`, highest bit first. */
  readonly hashes: readonly Uint8Array[];
}

export const emptyRange: CompactRange = { size: 0, hashes: [] };

/**
 * Adds a leaf, O(1) hashes amortized and log2(size) at most; the given range stays as it is.
 * @param onSubtree  called for each subtree of 256^level leaves (level >= 1) this leaf completes, lowest level first;
 *                   `index` counts the subtrees of that level from the left, from 0. This is what the store keeps for proofs.
 */
export function appendLeaf(
  range: CompactRange, leafHash: Uint8Array, onSubtree?: (level: number, index: number, hash: Uint8Array) => void,
): CompactRange {
  const hashes = range.hashes.slice();
  let subtree = leafHash;
  let height = 0;
  // Numbers are divided, not shifted: JavaScript's shifts stop at 32 bits.
  for (let index = range.size; index % 2 === 1;) {
    const left = hashes.pop();
    if (left === undefined) throw new RangeError(rangeMismatch(range));
    subtree = hashChildren(left, subtree);
    index = (index - 1) / 2;
    height += 1;
    if (height % heightPerLevel === 0) onSubtree?.(height / heightPerLevel, index, subtree);
  }
  hashes.push(subtree);
  return { size: range.size + 1, hashes };
}

/** Root of the whole tree; of the empty one SHA-256(""). */
export function rootOf(range: CompactRange): Uint8Array {
  const last = range.hashes.at(-1);
  if (last === undefined) {
    if (range.size !== 0) throw new RangeError(rangeMismatch(range));
    return sha256("");
  }
  let root = last;
  for (let index = range.hashes.length - 2; index >= 0; index--) root = hashChildren(range.hashes[index]!, root);
  return root;
}

/** SHA-256(0x00 || body); a string stands for its UTF-8 bytes. @source RFC 6962 2.1 */
export function hashLeaf(body: Uint8Array | string): Uint8Array {
  // On a string of 500 characters the one-shot over a concatenated string is faster than any way through a Buffer.
  if (typeof body === "string") return sha256(`\0${body}`);
  const prefixed = new Uint8Array(body.length + 1);
  prefixed.set(body, 1);
  return sha256(prefixed);
}

/** SHA-256(0x01 || left || right) over two 32-byte hashes. @source RFC 6962 2.1 */
export function hashChildren(left: Uint8Array, right: Uint8Array): Uint8Array {
  if (left.length !== hashBytes || right.length !== hashBytes) throw new RangeError(`a tree hash has ${hashBytes} bytes`);
  pair.set(left, 1);
  pair.set(right, 1 + hashBytes);
  return sha256(pair);
}

function rangeMismatch({ size, hashes }: CompactRange): string {
  return `a compact range of size ${size} does not have ${hashes.length} hashes`;
}

/** Length of a tree hash: SHA-256. */
export const hashBytes = 32;
/** Height of the subtrees whose hashes are kept: 256 leaves a level. @source C2SP tlog-tiles */
export const heightPerLevel = 8;
/** Scratch of `hashChildren`, which is synchronous: the prefix 0x01 and room for both hashes. */
const pair = new Uint8Array(1 + 2 * hashBytes);
pair[0] = 1;
