import { contextConstructed, tag } from "./der-tag.ts";

/** One element with this tag around the concatenated content. */
export function encodeDer(elementTag: number, ...content: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of content) length += part.length;
  const lengthOctets = lengthOctetsOf(length);
  const size = 1 + lengthOctets + length;
  // Parts come from Node's pool, at half the cost. Whole certificates own their memory: posting one to another thread
  // copies the ArrayBuffer it lies in, which for a pooled one is the entire pool.
  const out = size < pooledBytes ? Buffer.allocUnsafe(size) : new Uint8Array(size);
  out[0] = elementTag;
  if (lengthOctets === 1) {
    out[1] = length;
  } else {
    out[1] = 0x80 | (lengthOctets - 1);
    for (let index = lengthOctets, rest = length; index > 1; index--, rest >>= 8) out[index] = rest & 0xff;
  }
  let offset = 1 + lengthOctets;
  for (const part of content) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

export const encodeSequence = (...content: readonly Uint8Array[]): Uint8Array => encodeDer(tag.sequence, ...content);

/** SET OF: DER sorts the encodings (X.690 11.6). */
export function encodeSetOf(...content: readonly Uint8Array[]): Uint8Array {
  return encodeDer(tag.set, ...[...content].sort(Buffer.compare));
}

export const encodeBoolean = (value: boolean): Uint8Array => encodeDer(tag.boolean, Uint8Array.of(value ? 0xff : 0x00));
export const encodeNull = (): Uint8Array => encodeDer(tag.null);
export const encodeOctetString = (content: Uint8Array): Uint8Array => encodeDer(tag.octetString, content);

/** INTEGER from unsigned big-endian magnitude; leading zeros are dropped and a sign octet added where needed. */
export function encodeUnsignedInteger(magnitude: Uint8Array): Uint8Array {
  let start = 0;
  while (start < magnitude.length - 1 && magnitude[start] === 0) start++;
  const trimmed = magnitude.length === 0 ? Uint8Array.of(0) : magnitude.subarray(start);
  return (trimmed[0] ?? 0) >= 0x80 ? encodeDer(tag.integer, Uint8Array.of(0), trimmed) : encodeDer(tag.integer, trimmed);
}

/** Encodes an INTEGER from 0 to 2^53 - 1. */
export function encodeSmallInteger(value: number): Uint8Array {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError("encodeSmallInteger takes a safe non-negative integer");
  const octets: number[] = [];
  for (let rest = value; octets.length === 0 || rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256);
  return encodeUnsignedInteger(Uint8Array.from(octets));
}

/** BIT STRING of whole octets. */
export const encodeBitString = (octets: Uint8Array): Uint8Array => encodeDer(tag.bitString, Uint8Array.of(0), octets);

/** BIT STRING of named bits, `bits[0]` being bit 0: trailing zero bits are removed (X.690 11.2.2). */
export function encodeNamedBits(setBits: readonly number[]): Uint8Array {
  if (setBits.length === 0) return encodeDer(tag.bitString, Uint8Array.of(0));
  const highest = Math.max(...setBits);
  const octets = new Uint8Array(1 + (highest >> 3) + 1);
  octets[0] = 7 - (highest & 7);
  for (const bit of setBits) octets[1 + (bit >> 3)]! |= 0x80 >> (bit & 7);
  return encodeDer(tag.bitString, octets);
}

/** OBJECT IDENTIFIER from dotted form. @throws {RangeError} for what is not one */
export function encodeOid(dotted: string): Uint8Array {
  if (!/^(?:[01]\.[123]?\d|2\.\d+)(?:\.\d+)*$/.test(dotted)) throw new RangeError(`not an object identifier: ${dotted}`);
  const [root = 0n, second = 0n, ...rest] = dotted.split(".").map(BigInt);
  const octets: number[] = [];
  for (const arc of [root * 40n + second, ...rest]) {
    const base128: number[] = [];
    for (let value = arc; base128.length === 0 || value > 0n; value >>= 7n) base128.unshift(Number(value & 0x7fn));
    octets.push(...base128.map((part, index) => (index < base128.length - 1 ? part | 0x80 : part)));
  }
  return encodeDer(tag.oid, Uint8Array.from(octets));
}

/**
 * UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 4.1.2.5); fractions of a second are cut off.
 * @throws {RangeError} outside the years 0 to 9999
 */
export function encodeTime(epochMs: number): Uint8Array {
  const digits = timeDigits(epochMs);
  const utc = digits >= "1950" && digits < "2050";
  return utc ? encodeDer(tag.utcTime, Buffer.from(digits.slice(2), "latin1")) : encodeDer(tag.generalizedTime, Buffer.from(digits, "latin1"));
}

/** GeneralizedTime whatever the year, as OCSP has it; fractions of a second are cut off. @throws {RangeError} as encodeTime */
export function encodeGeneralizedTime(epochMs: number): Uint8Array {
  return encodeDer(tag.generalizedTime, Buffer.from(timeDigits(epochMs), "latin1"));
}

function timeDigits(epochMs: number): string {
  const iso = new Date(epochMs).toISOString();
  if (iso.length !== "2026-11-21T05:19:56.000Z".length) throw new RangeError("a year has four digits");
  return `${iso.slice(0, 4)}${iso.slice(5, 7)}${iso.slice(8, 10)}${iso.slice(11, 13)}${iso.slice(14, 16)}${iso.slice(17, 19)}Z`;
}

/** IA5String, or a GeneralName with an implicit tag. @throws {RangeError} for what is not ASCII: latin1 would bend it silently */
export function encodeIa5String(text: string, elementTag: number = tag.ia5String): Uint8Array {
  if (!/^[\x00-\x7f]*$/.test(text)) throw new RangeError("IA5String holds ASCII only");
  return encodeDer(elementTag, Buffer.from(text, "latin1"));
}

export const encodeUtf8String = (text: string): Uint8Array => encodeDer(tag.utf8String, Buffer.from(text, "utf8"));

/** [n] EXPLICIT: a constructed context tag around a whole element. */
export const encodeExplicit = (number: number, element: Uint8Array): Uint8Array =>
  encodeDer(contextConstructed(number), element);

/** Octets of the length field, the first one included. */
function lengthOctetsOf(length: number): number {
  if (length < 0x80) return 1;
  if (length < 0x100) return 2;
  if (length < 0x10000) return 3;
  if (length < 0x1000000) return 4;
  throw new RangeError("DER of 16 MiB or more");
}

/** Smaller than any certificate, larger than nearly all of its parts. */
const pooledBytes = 256;
