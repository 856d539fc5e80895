import { tag } from "./der-tag.ts";
import { PkiError } from "./errors.ts";

/** One DER element: where it lies in `bytes`, and which part of it is content. Nothing is copied. */
export interface DerElement {
  /** Identifier octet, class and constructed bit included: 0x30 is SEQUENCE, 0xa3 is constructed [3]. */
  readonly tag: number;
  /** The buffer the element was read from. */
  readonly bytes: Uint8Array;
  /** Offset of the identifier octet. */
  readonly start: number;
  /** Offset of the first content octet. */
  readonly contentStart: number;
  /** Offset behind the last content octet. */
  readonly end: number;
}

/**
 * Reads the one element that `bytes` consists of.
 * @throws {PkiError} der_malformed | der_limit_exceeded, also when bytes follow the element
 * @source X.690 sections 8.1, 10.1
 */
export function readDer(bytes: Uint8Array, expectedTag?: number): DerElement {
  if (bytes.length > maxDerBytes) {
    throw new PkiError("der_limit_exceeded", `DER of ${bytes.length} bytes exceeds the limit of ${maxDerBytes}`);
  }
  const element = readElement(bytes, 0, bytes.length);
  if (element.end !== bytes.length) throw malformed(`${bytes.length - element.end} bytes follow the element`);
  if (expectedTag !== undefined) expectTag(element, expectedTag);
  return element;
}

/** Walks the elements inside a constructed element in order; `done()` refuses what was left unread. */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #offset: number;

  constructor(parent: DerElement) {
    this.#bytes = parent.bytes;
    this.#offset = parent.contentStart;
    this.#end = parent.end;
  }

  /** True once every element was read. */
  get finished(): boolean {
    return this.#offset === this.#end;
  }

  /** Tag of the next element, or undefined at the end. */
  peekTag(): number | undefined {
    return this.finished ? undefined : this.#bytes[this.#offset];
  }

  /** Reads the next element, which must have `expectedTag` when given. */
  next(expectedTag?: number): DerElement {
    const element = readElement(this.#bytes, this.#offset, this.#end);
    if (expectedTag !== undefined) expectTag(element, expectedTag);
    this.#offset = element.end;
    return element;
  }

  /** Reads the next element if it has this tag. */
  optional(optionalTag: number): DerElement | undefined {
    return this.peekTag() === optionalTag ? this.next() : undefined;
  }

  /** Refuses elements that nobody read. */
  done(): void {
    if (!this.finished) throw malformed("unexpected further elements");
  }
}

/** Reader over the content of an element, which must have `expectedTag`. */
export function readerOf(element: DerElement, expectedTag: number): DerReader {
  expectTag(element, expectedTag);
  return new DerReader(element);
}

/** Content octets, as a view. */
export function contentOf(element: DerElement): Uint8Array {
  return element.bytes.subarray(element.contentStart, element.end);
}

/** The whole element, header included, as a view. */
export function encodedOf(element: DerElement): Uint8Array {
  return element.bytes.subarray(element.start, element.end);
}

/** BOOLEAN. DER knows only 0x00 and 0xff (X.690 11.1). */
export function readBoolean(element: DerElement): boolean {
  expectTag(element, tag.boolean);
  const value = contentOf(element);
  if (value.length !== 1 || (value[0] !== 0x00 && value[0] !== 0xff)) throw malformed("BOOLEAN is not DER");
  return value[0] === 0xff;
}

/** Content octets of an INTEGER, checked to be minimal (X.690 8.3.2); sign bit as encoded. */
export function readIntegerBytes(element: DerElement, expectedTag: number = tag.integer): Uint8Array {
  expectTag(element, expectedTag);
  const value = contentOf(element);
  if (value.length === 0) throw malformed("INTEGER is empty");
  const [first = 0, second = 0] = value;
  if (value.length > 1 && ((first === 0x00 && second < 0x80) || (first === 0xff && second >= 0x80))) {
    throw malformed("INTEGER is not minimal");
  }
  return value;
}

/** A non-negative INTEGER of at most 48 bits. */
export function readSmallInteger(element: DerElement, expectedTag: number = tag.integer): number {
  const value = readIntegerBytes(element, expectedTag);
  if ((value[0] ?? 0) >= 0x80 || value.length > 6) throw malformed("INTEGER is out of range");
  return value.reduce((sum, octet) => sum * 256 + octet, 0);
}

/** BIT STRING content: the octets and how many bits of the last one are unused. */
export function readBitString(
  element: DerElement, expectedTag: number = tag.bitString,
): { bits: Uint8Array; unusedBits: number } {
  expectTag(element, expectedTag);
  const value = contentOf(element);
  const unusedBits = value[0];
  if (unusedBits === undefined || unusedBits > 7) throw malformed("BIT STRING has no valid count of unused bits");
  const bits = value.subarray(1);
  if (bits.length === 0 && unusedBits !== 0) throw malformed("empty BIT STRING with unused bits");
  // X.690 11.2.1: unused bits are zero.
  const last = bits[bits.length - 1] ?? 0;
  if ((last & ((1 << unusedBits) - 1)) !== 0) throw malformed("unused bits of a BIT STRING are not zero");
  return { bits, unusedBits };
}

/** BIT STRING that must be whole octets, as keys and signatures are. */
export function readOctetAlignedBitString(element: DerElement): Uint8Array {
  const { bits, unusedBits } = readBitString(element);
  if (unusedBits !== 0) throw malformed("BIT STRING is not whole octets");
  return bits;
}

/** OCTET STRING content, as a view. */
export function readOctetString(element: DerElement): Uint8Array {
  expectTag(element, tag.octetString);
  return contentOf(element);
}

/**
 * Elements of a SET OF (also under an implicit tag), which DER keeps in ascending order of their encodings (X.690 11.6).
 */
export function readSetOf(element: DerElement, expectedTag: number = tag.set): DerElement[] {
  const reader = readerOf(element, expectedTag);
  const elements: DerElement[] = [];
  while (!reader.finished) {
    const next = reader.next();
    const previous = elements.at(-1);
    if (previous !== undefined && Buffer.compare(encodedOf(previous), encodedOf(next)) > 0) {
      throw malformed("SET OF is not sorted");
    }
    elements.push(next);
  }
  return elements;
}

/** NULL with no content. */
export function readNull(element: DerElement): void {
  expectTag(element, tag.null);
  if (element.end !== element.contentStart) throw malformed("NULL has content");
}

/** OBJECT IDENTIFIER in dotted form. */
export function readOid(element: DerElement): string {
  expectTag(element, tag.oid);
  const value = contentOf(element);
  if (value.length === 0 || value.length > maxOidBytes) throw malformed("OBJECT IDENTIFIER has no sane length");
  let dotted = "";
  let arcStart = 0;
  for (let index = 0; index < value.length; index++) {
    // X.690 8.19.2: no leading 0x80, the shortest form only.
    if (index === arcStart && value[index] === 0x80) throw malformed("OBJECT IDENTIFIER is not minimal");
    if (value[index]! >= 0x80) continue;
    const arc = readArc(value.subarray(arcStart, index + 1));
    if (arcStart > 0) dotted += `.${arc}`;
    else if (arc < 80) dotted = arc < 40 ? `0.${arc}` : `1.${Number(arc) - 40}`;
    else dotted = `2.${typeof arc === "bigint" ? arc - 80n : arc - 80}`;
    arcStart = index + 1;
  }
  if (arcStart !== value.length) throw malformed("OBJECT IDENTIFIER is cut off");
  return dotted;
}

/**
 * UTCTime or GeneralizedTime as RFC 5280 4.1.2.5 allows them: seconds, `Z`, no fraction; UTCTime means 1950-2049.
 * @returns milliseconds since the epoch
 */
export function readTime(element: DerElement): number {
  const utc = element.tag === tag.utcTime;
  if (!utc) expectTag(element, tag.generalizedTime);
  const text = asciiOf(contentOf(element));
  const match = (utc ? utcTimeForm : generalizedTimeForm).exec(text);
  if (!match) throw malformed("time is not in the form RFC 5280 demands");
  const [digits = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const year = !utc ? digits : digits < 50 ? 2000 + digits : 1900 + digits;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  // Date rolls over what does not exist, so 31 February comes back as another month and 24 h as another hour.
  if (
    date.getUTCMonth() !== month - 1 || date.getUTCHours() !== hour ||
    date.getUTCMinutes() !== minute || date.getUTCSeconds() !== second
  ) {
    throw malformed("time does not exist in the calendar");
  }
  return date.getTime();
}

/** Text of IA5String and of the implicit [n] IA5String forms in a GeneralName: 7-bit ASCII or refused. */
export function asciiOf(content: Uint8Array): string {
  for (const octet of content) if (octet > 0x7f) throw malformed("text is not ASCII");
  return Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString("latin1");
}

function readElement(bytes: Uint8Array, start: number, limit: number): DerElement {
  const identifier = bytes[start];
  const first = bytes[start + 1];
  if (identifier === undefined || first === undefined) throw malformed("element is cut off");
  // No structure we use has tag numbers above 30, so the multi-octet form is refused rather than parsed.
  if ((identifier & 0x1f) === 0x1f) throw malformed("multi-octet tag");
  let contentStart = start + 2;
  let length = first;
  if (first >= 0x80) {
    const octets = first & 0x7f;
    // 0x80 is the indefinite form (BER only); four octets reach 4 GiB, far above every limit here.
    if (octets === 0 || octets > 4) throw malformed("length is not in DER form");
    if (contentStart + octets > limit) throw malformed("length is cut off");
    length = 0;
    for (let index = 0; index < octets; index++) length = length * 256 + bytes[contentStart + index]!;
    // X.690 10.1: the fewest octets that hold the length.
    if (length < 0x80 || bytes[contentStart] === 0) throw malformed("length is not minimal");
    contentStart += octets;
  }
  const end = contentStart + length;
  if (end > limit) throw malformed("element is longer than what holds it");
  return { tag: identifier, bytes, start, contentStart, end };
}

/** Base 128; seven octets are 49 bits and fit a number, the arcs of UUIDs under 2.25 do not. */
function readArc(octets: Uint8Array): number | bigint {
  if (octets.length <= 7) return octets.reduce((arc, octet) => arc * 128 + (octet & 0x7f), 0);
  return octets.reduce((arc, octet) => arc * 128n + BigInt(octet & 0x7f), 0n);
}

function expectTag(element: DerElement, expected: number): void {
  if (element.tag !== expected) throw malformed(`tag 0x${element.tag.toString(16)} where 0x${expected.toString(16)} is due`);
}

function malformed(detail: string): PkiError {
  return new PkiError("der_malformed", `not DER: ${detail}`);
}

const utcTimeForm = /^(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/;
const generalizedTimeForm = /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/;

/** The largest structure we read is a CRL of another CA; certificates and CSRs have narrower limits of their own. */
const maxDerBytes = 16 * 1024 * 1024;
/** The longest OID in use here has 10 octets. */
const maxOidBytes = 32;
