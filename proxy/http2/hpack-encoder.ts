import { staticTable } from "./static-table.ts";

/** What is written of a field. */
export interface FieldText {
  readonly name: string;
  readonly value: string;
  readonly sensitive?: boolean;
}

/**
 * Writes a header block that needs no table at the other end: what was refused in between, or answered by ourselves, leaves no
 * trace in it. Between the proxy and its app that costs nothing; between proxies as much as HTTP/1 does.
 * @param isFirst the first block to this endpoint: it is told that the table is empty
 * @source RFC 7541 sections 4.2 and 6
 */
export function encodeBlock(fields: readonly FieldText[], isFirst: boolean): Buffer {
  let size = 1;
  for (const { name, value } of fields) size += name.length + value.length + maxOverhead;
  const block = Buffer.allocUnsafe(size);
  let at = 0;
  if (isFirst) block[at++] = emptyTable;
  for (const { name, value, sensitive } of fields) {
    const known = staticFields.get(name);
    const index = known?.values.get(value);
    if (index !== undefined && sensitive !== true) {
      block[at++] = indexed | index;
      continue;
    }
    at = writeInteger(block, at, sensitive === true ? neverIndexed : 0, 4, known?.index ?? 0);
    if (known === undefined) at = writeString(block, at, name);
    at = writeString(block, at, value);
  }
  return block.subarray(0, at);
}

function writeString(block: Buffer, at: number, text: string): number {
  const start = writeInteger(block, at, 0, 7, text.length);
  return start + block.write(text, start, "latin1");
}

function writeInteger(block: Buffer, at: number, high: number, prefixBits: number, value: number): number {
  const mask = 2 ** prefixBits - 1;
  if (value < mask) {
    block[at] = high | value;
    return at + 1;
  }
  block[at++] = high | mask;
  for (value -= mask; value >= 0x80; value = Math.floor(value / 0x80)) block[at++] = (value & 0x7f) | 0x80;
  block[at] = value;
  return at + 1;
}

const [indexed, neverIndexed, emptyTable] = [0x80, 0x10, 0x20];
/** Two integers and the kind of the field; lists are bounded, so each takes at most 4 bytes. */
const maxOverhead = 10;
/** By name: the index of the first, and of each value. */
const staticFields = new Map<string, { readonly index: number; readonly values: Map<string, number> }>();
for (const [place, [name, value]] of staticTable.entries()) {
  const known = staticFields.get(name) ?? { index: place + 1, values: new Map<string, number>() };
  if (value !== "") known.values.set(value, place + 1);
  staticFields.set(name, known);
}
