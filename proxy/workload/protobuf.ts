/**
 * Encodes a field with a length: bytes, text, or a message that is encoded already. Empty ones are written, too.
 * @param number  from 1 to 15, so that its tag is one byte
 * @source Protocol Buffers encoding, wire type 2
 */
export function encodeField(number: number, content: Uint8Array | string): Uint8Array {
  const bytes = typeof content === "string" ? Buffer.from(content, "utf8") : content;
  return Buffer.concat([Uint8Array.of((number << 3) | lengthDelimited, ...varint(bytes.length)), bytes]);
}

/** Encodes a map from text to bytes: each entry is a message of its own, key first. @source Protocol Buffers encoding, maps */
export function encodeMap(number: number, entries: Iterable<readonly [key: string, value: Uint8Array]>): Uint8Array {
  return Buffer.concat([...entries].map(([key, value]) => encodeField(number, Buffer.concat([encodeField(1, key), encodeField(2, value)]))));
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

const lengthDelimited = 2;
