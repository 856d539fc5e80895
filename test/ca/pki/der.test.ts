import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeDer, encodeIa5String, encodeOctetString } from "../../../ca/pki/der-encoding.ts";
import { tag } from "../../../ca/pki/der-tag.ts";
import * as der from "../../../ca/pki/der.ts";
import { outcomeOf } from "../../support/outcome.ts";

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const hex = (octets: Uint8Array): string => Buffer.from(octets).toString("hex");

describe("an element", () => {
  it.each<[string, string]>([
    ["nothing at all", ""],
    ["a tag without length", "30"],
    ["a multi-octet tag", "1f 01 00"],
    ["the indefinite form", "30 80 00 00"],
    ["a length of five octets", "30 85 00 00 00 00 01 00"],
    ["the reserved length 0xff", "30 ff"],
    ["a length that is cut off", "30 82 01"],
    ["a long form where the short one does", "04 81 01 00"],
    ["a length of 127 in the long form", `04 81 7f ${"00".repeat(127)}`],
    ["a length with a leading zero", `04 82 00 80 ${"00".repeat(128)}`],
    ["content that is cut off", "04 02 00"],
    ["a length of 4 GiB", "04 84 ff ff ff ff 00"],
    ["a byte behind it", "05 00 00"],
  ])("is refused for %s", (_, input) => {
    expect(outcomeOf(() => der.readDer(bytes(input)))).toBe("der_malformed");
  });

  it("is read from the first to the last octet, wherever its buffer lies", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(40), (content, shift) => {
      const encoded = encodeOctetString(content);
      const shifted = new Uint8Array(shift + encoded.length + 3);
      shifted.set(encoded, shift);
      const element = der.readDer(shifted.subarray(shift, shift + encoded.length), tag.octetString);
      expect(hex(der.contentOf(element))).toBe(hex(content));
      expect(hex(der.encodedOf(element))).toBe(hex(encoded));
    }));
  });

  it.each([0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000, 0xffffff])("of %i content octets comes back", (length) => {
    const encoded = encodeOctetString(new Uint8Array(length));
    if (encoded.length > 16 * 1024 * 1024) return expect(outcomeOf(() => der.readDer(encoded))).toBe("der_limit_exceeded");
    expect(der.contentOf(der.readDer(encoded)).length).toBe(length);
  });

  it("above the limit is refused before it is looked at", () => {
    expect(outcomeOf(() => der.readDer(new Uint8Array(16 * 1024 * 1024 + 1)))).toBe("der_limit_exceeded");
    expect(() => encodeOctetString(new Uint8Array(0x1000000))).toThrow(RangeError);
  });

  it("inside another cannot reach beyond it", () => {
    // The inner length says 3 although the outer element ends after 2; the third octet exists, but is not its own.
    const reader = der.readerOf(der.readDer(bytes("30 06 30 02 04 03 05 00")), tag.sequence);
    expect(outcomeOf(() => new der.DerReader(reader.next()).next())).toBe("der_malformed");
  });

  it("at the end of its buffer may not have half a length", () => {
    const reader = der.readerOf(der.readDer(bytes("30 03 04 82 01")), tag.sequence);
    expect(outcomeOf(() => reader.next())).toBe("der_malformed");
  });

  it("that begins with the last octet of another cannot borrow the next one", () => {
    const outer = der.readerOf(der.readDer(bytes("30 05 30 01 04 00 00")), tag.sequence);
    expect(outcomeOf(() => new der.DerReader(outer.next()).next())).toBe("der_malformed");
  });

  it("with another tag than the expected one is refused", () => {
    expect(outcomeOf(() => der.readDer(bytes("31 00"), tag.sequence))).toBe("der_malformed");
    expect(outcomeOf(() => der.readerOf(der.readDer(bytes("31 00")), tag.sequence))).toBe("der_malformed");
  });

  it("of 256 octets owns its memory, so that posting it to a thread copies nothing else", () => {
    expect(encodeOctetString(new Uint8Array(300)).buffer.byteLength).toBe(304);
  });
});

describe("a reader", () => {
  const open = () => der.readerOf(der.readDer(bytes("30 05 01 01 ff 05 00")), tag.sequence);

  it("gives the elements in order and knows its end", () => {
    const reader = open();
    expect(reader.peekTag()).toBe(tag.boolean);
    expect(der.readBoolean(reader.next())).toBe(true);
    expect(reader.optional(tag.integer)).toBeUndefined();
    expect(reader.optional(tag.null)?.tag).toBe(tag.null);
    expect(reader.peekTag()).toBeUndefined();
    expect(reader.optional(tag.null)).toBeUndefined();
    reader.done();
  });

  it("refuses to be done early and to go on after the end", () => {
    const reader = open();
    expect(outcomeOf(() => reader.done())).toBe("der_malformed");
    reader.next();
    reader.next();
    expect(outcomeOf(() => reader.next())).toBe("der_malformed");
  });

  it("does not move when the next element has another tag", () => {
    const reader = open();
    expect(outcomeOf(() => reader.next(tag.null))).toBe("der_malformed");
    expect(reader.next().tag).toBe(tag.boolean);
  });
});

describe("a primitive", () => {
  const readers: Record<string, (element: der.DerElement) => unknown> = {
    boolean: der.readBoolean, integer: der.readIntegerBytes, small: der.readSmallInteger, bits: der.readBitString,
    octetBits: der.readOctetAlignedBitString, octets: der.readOctetString, null: der.readNull, oid: der.readOid, time: der.readTime,
    set: (element) => der.readSetOf(element),
  };
  const time = (text: string, tag: number): string => hex(encodeDer(tag, Buffer.from(text, "latin1")));
  const utc = (text: string): string => time(text, tag.utcTime);
  const generalized = (text: string): string => time(text, tag.generalizedTime);

  it.each<[string, string, string]>([
    ["boolean", "an empty BOOLEAN", "01 00"],
    ["boolean", "a BOOLEAN of two octets", "01 02 ff ff"],
    ["boolean", "a BOOLEAN of 0x01, true in BER", "01 01 01"],
    ["boolean", "another tag", "02 01 ff"],
    ["integer", "an empty INTEGER", "02 00"],
    ["integer", "an INTEGER with a needless leading zero", "02 02 00 7f"],
    ["integer", "an INTEGER with a needless leading 0xff", "02 02 ff 80"],
    ["integer", "another tag", "0a 01 00"],
    ["small", "a negative INTEGER", "02 01 80"],
    ["small", "an INTEGER of 49 bits", "02 07 01 00 00 00 00 00 00"],
    ["bits", "a BIT STRING without its first octet", "03 00"],
    ["bits", "eight unused bits", "03 02 08 00"],
    ["bits", "unused bits of nothing", "03 01 01"],
    ["bits", "unused bits that are set", "03 02 01 81"],
    ["bits", "another tag", "04 02 00 00"],
    ["octetBits", "a BIT STRING that is not whole octets", "03 02 01 80"],
    ["octets", "a constructed OCTET STRING", "24 04 04 02 00 00"],
    ["null", "a NULL with content", "05 01 00"],
    ["null", "another tag", "04 00"],
    ["oid", "an empty OBJECT IDENTIFIER", "06 00"],
    ["oid", "an arc with a leading 0x80", "06 03 2a 80 01"],
    ["oid", "a first arc with a leading 0x80", "06 02 80 01"],
    ["oid", "an arc that is cut off", "06 02 2a 86"],
    ["oid", "an OBJECT IDENTIFIER of 33 octets", `06 21 ${"01".repeat(33)}`],
    ["oid", "another tag", "0d 01 2a"],
    ["set", "a SET OF that is not sorted", "31 06 04 01 02 04 01 01"],
    ["set", "a SEQUENCE where a SET is due", "30 00"],
    ["time", "UTCTime without seconds", utc("2611210519Z")],
    ["time", "UTCTime with an offset", utc("261121051956+0000")],
    ["time", "UTCTime with a fraction", utc("261121051956.5Z")],
    ["time", "UTCTime of the long form", utc("20261121051956Z")],
    ["time", "UTCTime with a newline behind", utc("261121051956Z\n")],
    ["time", "UTCTime in lower case", utc("261121051956z")],
    ["time", "GeneralizedTime with a fraction", generalized("20501121051956.5Z")],
    ["time", "GeneralizedTime without Z", generalized("20501121051956")],
    ["time", "GeneralizedTime of the short form", generalized("501121051956Z")],
    ["time", "30 February", utc("260230000000Z")],
    ["time", "29 February of 2100", generalized("21000229000000Z")],
    ["time", "month 13", utc("261301000000Z")],
    ["time", "month 0", utc("260001000000Z")],
    ["time", "day 0", utc("260100000000Z")],
    ["time", "day 31 of a month of 30", utc("260431000000Z")],
    ["time", "day 99", utc("260199000000Z")],
    ["time", "month 99", utc("269901000000Z")],
    ["time", "24 h", utc("260101240000Z")],
    ["time", "60 min", utc("260101006000Z")],
    ["time", "a leap second", utc("261231235960Z")],
    ["time", "digits that are not ASCII", utc("2611210519\xb2\xb3Z")],
    ["time", "another tag", time("261121051956Z", tag.ia5String)],
  ])("read as %s is refused for %s", (reader, _, input) => {
    expect(outcomeOf(() => readers[reader]?.(der.readDer(bytes(input))))).toBe("der_malformed");
  });

  it.each<[string, number]>([
    [utc("500101000000Z"), Date.UTC(1950, 0, 1)],
    [utc("491231235959Z"), Date.UTC(2049, 11, 31, 23, 59, 59)],
    [generalized("20500101000000Z"), Date.UTC(2050, 0, 1)],
    [generalized("99991231235959Z"), Date.UTC(9999, 11, 31, 23, 59, 59)],
    [utc("240229120000Z"), Date.UTC(2024, 1, 29, 12)],
  ])("time %s is read as %i", (input, expected) => {
    expect(der.readTime(der.readDer(bytes(input)))).toBe(expected);
  });

  it("text is 7 bits", () => {
    expect(der.asciiOf(bytes("41 7f 00"))).toBe("A\x7f\0");
    expect(outcomeOf(() => der.asciiOf(bytes("41 80")))).toBe("der_malformed");
    expect(() => encodeIa5String("spiffe://\u015b")).toThrow(RangeError);
  });
});

it("whatever the bytes, only coded refusals come out", () => {
  const readers = [
    der.readBoolean, der.readIntegerBytes, der.readSmallInteger, der.readBitString, der.readOctetAlignedBitString, der.readOctetString,
    der.readNull, der.readOid, der.readTime, (element: der.DerElement) => der.readSetOf(element), (element: der.DerElement) => der.asciiOf(der.contentOf(element)),
  ];
  const walk = (element: der.DerElement): void => {
    for (const read of readers) outcomeOf(() => read(element));
    outcomeOf(() => {
      const reader = new der.DerReader(element);
      while (!reader.finished) walk(reader.next());
    });
  };
  // Mostly plausible tags and lengths, so that the walk gets below the surface.
  const octet = fc.oneof(fc.constantFrom(...Object.values(tag)), fc.nat(6), fc.nat(255));
  fc.assert(fc.property(fc.array(octet, { maxLength: 40 }), (octets) => {
    outcomeOf(() => walk(der.readDer(Uint8Array.from(octets))));
  }), { numRuns: 5000 });
});
