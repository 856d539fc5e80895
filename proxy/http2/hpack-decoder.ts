import { fieldOf, type Field } from "./field.ts";
import { Http2Error } from "./frames.ts";
import { decodeHuffman } from "./huffman.ts";
import { staticTable } from "./static-table.ts";

/** Fields of one block. */
export interface DecodedFields {
  readonly fields: readonly Field[];
  /** They were more than `maxListBytes`; `fields` holds only some. */
  readonly tooLarge: boolean;
}

/** Reads the header blocks of one direction of a connection; every block has to be read, in order. */
export interface HpackDecoder {
  /** @throws {Http2Error} compressionError */
  decode(block: Buffer): DecodedFields;
}

/**
 * Makes a decoder with a table of the default size, since nobody is told another. A block of references to large fields is no
 * larger in memory than the fields: they are not copied.
 * @param maxListBytes what a list of fields may come to, 32 bytes for each included
 * @source RFC 7541
 */
export function hpackDecoder(maxListBytes: number): HpackDecoder {
  /** Newest first would be the order of the indexes; this is the other one. */
  const table: Field[] = [];
  let tableBytes = 0;
  let tableLimit = maxTableBytes;

  function evictTo(limit: number): void {
    let gone = 0;
    while (tableBytes > limit) tableBytes -= table[gone++]!.sizeBytes;
    if (gone > 0) table.splice(0, gone);
  }

  function insert(field: Field): void {
    evictTo(Math.max(0, tableLimit - field.sizeBytes));
    if (field.sizeBytes > tableLimit) return;
    table.push(field);
    tableBytes += field.sizeBytes;
  }

  function at(index: number): Field {
    const field = index <= staticFields.length ? staticFields[index - 1] : table[table.length - (index - staticFields.length)];
    return field ?? broken(`index ${index}`);
  }

  return {
    decode(block) {
      const fields: Field[] = [];
      let listBytes = 0;
      const input: Input = { block, at: 0 };
      let updates = 0;
      while (input.at < block.length) {
        const first = block[input.at]!;
        if ((first & 0xe0) === 0x20) {
          const limit = integer(input, 5);
          if (fields.length > 0 || listBytes > 0 || ++updates > maxUpdates || limit > maxTableBytes) broken("table size update");
          tableLimit = limit;
          evictTo(limit);
          continue;
        }
        let field: Field;
        if ((first & 0x80) !== 0) field = at(integer(input, 7));
        else {
          const isIndexed = (first & 0x40) !== 0;
          const index = integer(input, isIndexed ? 6 : 4);
          const name = index === 0 ? string(input) : at(index).name;
          field = fieldOf(name, string(input), (first & 0xf0) === 0x10);
          if (isIndexed) insert(field);
        }
        listBytes += field.sizeBytes;
        if (listBytes <= maxListBytes) fields.push(field);
      }
      return { fields, tooLarge: listBytes > maxListBytes };
    },
  };
}

interface Input {
  readonly block: Buffer;
  at: number;
}

/** @source RFC 7541 section 5.1 */
function integer(input: Input, prefixBits: number): number {
  const mask = 2 ** prefixBits - 1;
  let value = input.block[input.at++]! & mask;
  if (value < mask) return value;
  for (let shift = 0; shift <= maxShift; shift += 7) {
    const byte = input.block[input.at++] ?? broken("integer");
    value += (byte & 0x7f) * 2 ** shift;
    if ((byte & 0x80) === 0) return value;
  }
  return broken("integer");
}

/** @source RFC 7541 section 5.2 */
function string(input: Input): string {
  const isHuffman = ((input.block[input.at] ?? broken("string")) & 0x80) !== 0;
  const length = integer(input, 7);
  const from = input.at;
  input.at += length;
  if (input.at > input.block.length) broken("string");
  return isHuffman ? (decodeHuffman(input.block, from, input.at) ?? broken("Huffman code")) : input.block.toString("latin1", from, input.at);
}

function broken(what: string): never {
  throw new Http2Error("compressionError", `a header block with a broken ${what}`);
}

const staticFields = staticTable.map(([name, value]) => fieldOf(name, value));
/** @source RFC 9113 section 6.5.2 */
const maxTableBytes = 4096;
/** The smallest size in between, and the last. @source RFC 7541 section 4.2 */
const maxUpdates = 2;
/** Up to 2^28: more than a block can hold. */
const maxShift = 21;
