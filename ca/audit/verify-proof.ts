import { AuditError } from "./errors.ts";
import { emptyRange, hashBytes, hashChildren, rootOf } from "./merkle.ts";

/**
 * Checks an inclusion proof to the last hash: one too many is refused like one too few.
 * @throws {AuditError} proof_invalid | proof_out_of_range
 * @source RFC 9162 2.1.3.2
 */
export function verifyInclusion({ index, size, leafHash, proof, root }: {
  readonly index: number;
  readonly size: number;
  readonly leafHash: Uint8Array;
  readonly proof: readonly Uint8Array[];
  readonly root: Uint8Array;
}): void {
  if (!isCount(index) || !isCount(size) || index >= size) {
    throw new AuditError("proof_out_of_range", `entry ${index} cannot be in a log of ${size} entries`);
  }
  requireHashes([leafHash, ...proof]);
  let position = index;
  let last = size - 1;
  let hash = leafHash;
  for (const sibling of proof) {
    if (last === 0) throw invalid(`an inclusion proof of ${proof.length} hashes is too long for a log of ${size} entries`);
    if (position % 2 === 1 || position === last) {
      hash = hashChildren(sibling, hash);
      while (position % 2 === 0 && position !== 0) [position, last] = [position / 2, half(last)];
    } else {
      hash = hashChildren(hash, sibling);
    }
    [position, last] = [half(position), half(last)];
  }
  if (last !== 0) throw invalid(`an inclusion proof of ${proof.length} hashes is too short for a log of ${size} entries`);
  if (!equal(hash, root)) throw invalid(`the proof does not lead from entry ${index} to the root at size ${size}`);
}

/**
 * Checks a consistency proof to the last hash.
 * @throws {AuditError} proof_invalid | proof_out_of_range
 * @source RFC 9162 2.1.4.2
 */
export function verifyConsistency({ oldSize, oldRoot, size, root, proof }: {
  readonly oldSize: number;
  readonly oldRoot: Uint8Array;
  readonly size: number;
  readonly root: Uint8Array;
  readonly proof: readonly Uint8Array[];
}): void {
  if (!isCount(oldSize) || !isCount(size) || oldSize > size) {
    throw new AuditError("proof_out_of_range", `a log cannot have grown from ${oldSize} entries to ${size}`);
  }
  requireHashes([oldRoot, root, ...proof]);
  if (oldSize === 0 || oldSize === size) {
    if (proof.length > 0) throw invalid(`a consistency proof from ${oldSize} to ${size} has no hashes`);
    if (oldSize === size && !equal(oldRoot, root)) throw invalid(`two different roots at size ${size}: the log was forked`);
    if (oldSize === 0 && !equal(oldRoot, rootOf(emptyRange))) throw invalid("the old root is not that of the empty log");
    return;
  }
  let position = oldSize - 1;
  let last = size - 1;
  while (position % 2 === 1) [position, last] = [half(position), half(last)];
  // A whole left subtree is the old log itself, so its root need not be sent.
  const [first, ...rest] = position === 0 ? [oldRoot, ...proof] : proof;
  if (first === undefined) throw invalid("a consistency proof that should have hashes has none");
  let [oldHash, newHash] = [first, first];
  for (const sibling of rest) {
    if (last === 0) throw invalid(`a consistency proof of ${proof.length} hashes is too long from ${oldSize} to ${size}`);
    if (position % 2 === 1 || position === last) {
      oldHash = hashChildren(sibling, oldHash);
      newHash = hashChildren(sibling, newHash);
      while (position % 2 === 0 && position !== 0) [position, last] = [position / 2, half(last)];
    } else {
      newHash = hashChildren(newHash, sibling);
    }
    [position, last] = [half(position), half(last)];
  }
  if (last !== 0) throw invalid(`a consistency proof of ${proof.length} hashes is too short from ${oldSize} to ${size}`);
  if (!equal(oldHash, oldRoot)) throw invalid(`the proof does not lead to the root at size ${oldSize}`);
  if (!equal(newHash, root)) throw invalid(`the proof does not lead to the root at size ${size}`);
}

function requireHashes(hashes: readonly Uint8Array[]): void {
  if (hashes.some((hash) => hash.length !== hashBytes)) throw invalid(`a tree hash has ${hashBytes} bytes`);
}

function invalid(message: string): AuditError {
  return new AuditError("proof_invalid", message);
}

function equal(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

function half(value: number): number {
  return Math.floor(value / 2);
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
