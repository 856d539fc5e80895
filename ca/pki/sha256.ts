import { hash } from "node:crypto";

/**
 * 32 bytes. By way of a string: a buffer that `hash` makes is memory outside the heap, which costs more than the hash to allocate and to
 * collect (measured, Node 26.10).
 */
export function sha256(data: Uint8Array | string): Buffer {
  return Buffer.from(hash("sha256", data, "latin1"), "latin1");
}
