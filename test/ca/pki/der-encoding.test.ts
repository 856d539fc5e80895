import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  encodeBitString, encodeBoolean, encodeExplicit, encodeIa5String, encodeNamedBits, encodeNull, encodeOctetString,
  encodeOid, encodeSetOf, encodeSmallInteger, encodeTime, encodeUnsignedInteger, encodeUtf8String,
} from "../../../ca/pki/der-encoding.ts";
import { context, tag } from "../../../ca/pki/der-tag.ts";
import * as der from "../../../ca/pki/der.ts";
import { extensionOid, extensionRequestOid, extKeyUsageOid, keyOid, nameOid, signatureOid } from "../../../ca/pki/oid.ts";

const hex = (octets: Uint8Array): string => Buffer.from(octets).toString("hex");

describe("what is written comes back", () => {
  it("BOOLEAN, NULL", () => {
    for (const value of [true, false]) expect(der.readBoolean(der.readDer(encodeBoolean(value)))).toBe(value);
    der.readNull(der.readDer(encodeNull()));
  });

  it("INTEGER of a magnitude: minimal, positive, leading zeros dropped", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 24 }), (magnitude) => {
      const value = der.readIntegerBytes(der.readDer(encodeUnsignedInteger(magnitude)));
      expect(value[0]).toBeLessThan(0x80);
      expect(BigInt(`0x${hex(value)}`)).toBe(BigInt(`0x0${hex(magnitude)}`));
    }));
  });

  it("small INTEGER", () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 47 - 1 }), (value) => {
      expect(der.readSmallInteger(der.readDer(encodeSmallInteger(value)))).toBe(value);
    }));
    for (const value of [-1, 1.5, 2 ** 53]) expect(() => encodeSmallInteger(value)).toThrow(RangeError);
  });

  it("BIT STRING of octets and of named bits", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (octets) => {
      expect(hex(der.readOctetAlignedBitString(der.readDer(encodeBitString(octets))))).toBe(hex(octets));
    }));
    fc.assert(fc.property(fc.uniqueArray(fc.nat(20)), (setBits) => {
      const { bits, unusedBits } = der.readBitString(der.readDer(encodeNamedBits(setBits)));
      const found = [...bits].flatMap((octet, index) => [...Array(8).keys()].filter((bit) => octet & (0x80 >> bit)).map((bit) => index * 8 + bit));
      expect(found).toEqual([...setBits].sort((a, b) => a - b));
      expect(bits.length * 8 - unusedBits).toBe(setBits.length === 0 ? 0 : Math.max(...setBits) + 1);
    }));
  });

  it("OBJECT IDENTIFIER, also at the edges of its first arcs and beyond 53 bits", () => {
    const oids = [keyOid, signatureOid, extensionOid, extKeyUsageOid, nameOid].flatMap((table) => Object.values(table));
    const edges = ["0.0", "0.39", "1.0", "1.39", "2.0", "2.39", "2.40", "2.999.3", "2.25.329800735698586629295641978511506172918"];
    for (const oid of [...oids, ...edges, extensionRequestOid]) expect(der.readOid(der.readDer(encodeOid(oid)))).toBe(oid);
    fc.assert(fc.property(fc.constantFrom(0, 1, 2), fc.nat(39), fc.array(fc.bigInt(0n, 2n ** 64n), { maxLength: 2 }), (root, second, rest) => {
      const oid = [root, second, ...rest].join(".");
      expect(der.readOid(der.readDer(encodeOid(oid)))).toBe(oid);
    }));
    for (const text of ["", "1", "3.1", "1.40", "1.-2", "1.2.x"]) expect(() => encodeOid(text)).toThrow(RangeError);
  });

  it("SET OF, sorted whatever the order it was given in", () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 6 })), (contents) => {
      const set = encodeSetOf(...contents.map(encodeOctetString));
      const elements = der.readSetOf(der.readDer(set)).map((element) => hex(der.contentOf(element)));
      expect([...elements].sort()).toEqual(contents.map(hex).sort());
    }));
  });

  it("time, cut to the second; UTCTime through 2049 and GeneralizedTime from 2050", () => {
    fc.assert(fc.property(fc.date({ min: new Date("1900-01-01"), max: new Date("9999-12-31T23:59:59Z"), noInvalidDate: true }), (date) => {
      const element = der.readDer(encodeTime(date.getTime()));
      expect(der.readTime(element)).toBe(Math.floor(date.getTime() / 1000) * 1000);
      const year = date.getUTCFullYear();
      expect(element.tag).toBe(year >= 1950 && year < 2050 ? tag.utcTime : tag.generalizedTime);
    }));
    for (const ms of [Number.NaN, Date.UTC(10_000, 0, 1), Date.UTC(0, 0, 1) - 2e14]) expect(() => encodeTime(ms)).toThrow(RangeError);
  });

  it("text and explicit tags", () => {
    expect(hex(encodeUtf8String("\u00e9"))).toBe("0c02c3a9");
    expect(hex(encodeExplicit(3, encodeNull()))).toBe("a3020500");
    expect(hex(encodeIa5String("a", context(6)))).toBe("860161");
  });
});
