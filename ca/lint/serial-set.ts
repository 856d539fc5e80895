/** Serial numbers of a CRL, kept as places in its bytes: a Set of strings costs ten times as much for a hundred thousand. */
export interface SerialSet {
  /** Adds the content octets at an offset, unless the same are in it. */
  add(at: number, length: number): void;
  size(): number;
}

/** @param bytes  what the offsets are into; not changed while the set is used */
export function serialSet(bytes: Uint8Array): SerialSet {
  // Open addressing, at most half full: offset + 1 of a serial number, and its length beside it.
  let offsets = new Uint32Array(firstSlots);
  let lengths = new Uint8Array(firstSlots);
  let size = 0;

  /** The slot that has these octets, or the free one for them. */
  function slotOf(at: number, length: number): number {
    const mask = offsets.length - 1;
    for (let slot = hashOf(bytes, at, length) & mask; ; slot = (slot + 1) & mask) {
      const held = offsets[slot]!;
      if (held === 0 || (lengths[slot] === length && isSame(bytes, held - 1, at, length))) return slot;
    }
  }

  function grow(): void {
    const [heldOffsets, heldLengths] = [offsets, lengths];
    offsets = new Uint32Array(2 * heldOffsets.length);
    lengths = new Uint8Array(2 * heldOffsets.length);
    for (let slot = 0; slot < heldOffsets.length; slot++) if (heldOffsets[slot] !== 0) put(heldOffsets[slot]! - 1, heldLengths[slot]!);
  }

  function put(at: number, length: number): boolean {
    const slot = slotOf(at, length);
    if (offsets[slot] !== 0) return false;
    offsets[slot] = at + 1;
    lengths[slot] = length;
    return true;
  }

  return {
    add(at, length) {
      if (!put(at, length)) return;
      size += 1;
      if (2 * size > offsets.length) grow();
    },
    size: () => size,
  };
}

/** Four octets at a time, the upper half of each product folded into the lower, from which the slot is taken. */
function hashOf(bytes: Uint8Array, at: number, length: number): number {
  const end = at + length;
  let hash = length;
  let index = at;
  for (; index + 4 <= end; index += 4) {
    const word = bytes[index]! | (bytes[index + 1]! << 8) | (bytes[index + 2]! << 16) | (bytes[index + 3]! << 24);
    hash = Math.imul(hash ^ word, 0x01000193);
    hash ^= hash >>> 15;
  }
  for (; index < end; index++) hash = Math.imul(hash ^ bytes[index]!, 0x01000193);
  return hash ^ (hash >>> 15);
}

function isSame(bytes: Uint8Array, one: number, other: number, length: number): boolean {
  for (let index = 0; index < length; index++) if (bytes[one + index] !== bytes[other + index]) return false;
  return true;
}

const firstSlots = 1024;
