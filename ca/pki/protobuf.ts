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

/** Encodes a boolean, an enum or a small number. @source Protocol Buffers encoding, wire type 0 */
export function encodeVarint(number: number, value: number): Uint8Array {
  return Uint8Array.of(number << 3, ...varint(value));
}

/** @source Protocol Buffers encoding, wire type 1 */
export function encodeDouble(number: number, value: number): Uint8Array {
  const bytes = Buffer.alloc(9);
  bytes[0] = (number << 3) | fixed64;
  bytes.writeDoubleLE(value, 1);
  return bytes;
}

/** Bytes that are no message, or not one that anybody means. */
export class ProtobufError extends Error {
  override readonly name = "ProtobufError";
}

/**
 * Takes a message apart: the fields with a length by their number, in order. Those of other wire types are passed over, as they are
 * of later versions.
 * @throws {ProtobufError}
 */
export function decodeFields(message: Uint8Array): ReadonlyMap<number, readonly Uint8Array[]> {
  const fields = new Map<number, Uint8Array[]>();
  let at = 0;
  const next = (): number => {
    let value = 0;
    for (let bits = 0; bits < maxVarintBits; bits += 7) {
      const byte = message[at++];
      if (byte === undefined) throw new ProtobufError("it is cut off");
      value += (byte & 0x7f) * 2 ** bits;
      if (byte < 0x80) return value;
    }
    throw new ProtobufError("a number in it is too large");
  };
  const take = (length: number): Uint8Array => {
    if (length > message.length - at) throw new ProtobufError("it is cut off");
    return message.subarray(at, (at += length));
  };
  while (at < message.length) {
    const tag = next();
    const [number, type] = [Math.floor(tag / 8), tag % 8];
    if (number === 0) throw new ProtobufError("a field of it has no number");
    if (type === lengthDelimited) {
      const values = fields.get(number) ?? [];
      values.push(take(next()));
      fields.set(number, values);
    } else if (type === 0) next();
    else if (type === fixed64) take(8);
    else if (type === fixed32) take(4);
    else throw new ProtobufError("a field of it has an unknown type");
  }
  return fields;
}

/** Text of a field, "" for one that is not there. @throws {ProtobufError} */
export function decodeText(field: Uint8Array | undefined): string {
  if (field === undefined) return "";
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(field);
  } catch {
    throw new ProtobufError("a text in it is not UTF-8");
  }
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

const fixed64 = 1;
const lengthDelimited = 2;
const fixed32 = 5;
/** Ten bytes carry 64 bits; what is beyond 2^53 is longer than any message. */
const maxVarintBits = 70;
