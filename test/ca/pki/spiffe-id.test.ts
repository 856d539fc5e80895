import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  isTrustDomain, matchesSpiffeIdPattern, parseSpiffeId, parseSpiffeIdPattern, parseTrustDomain, spiffeId,
} from "../../../ca/pki/spiffe-id.ts";
import { outcomeOf } from "../../support/outcome.ts";

const allBytes = Array.from({ length: 256 }, (_, octet) => String.fromCharCode(octet));
const inTrustDomain = new Set("abcdefghijklmnopqrstuvwxyz0123456789.-_");
const inPath = new Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");

describe("a SPIFFE ID", () => {
  it.each<[string, string, string]>([
    ["spiffe://td", "td", ""],
    ["spiffe://td/a", "td", "/a"],
    ["spiffe://example.org/ns/shop/sa/cart", "example.org", "/ns/shop/sa/cart"],
    ["spiffe://td/A/b.C_d-9", "td", "/A/b.C_d-9"],
    ["spiffe://td/.../.a/..b/c.", "td", "/.../.a/..b/c."],
    // ID-06: neither DNS names nor addresses are special, so what neither would allow is fine.
    ["spiffe://10.0.0.1/a", "10.0.0.1", "/a"],
    ["spiffe://-a_.-./b", "-a_.-.", "/b"],
    ["spiffe://.../a", "...", "/a"],
  ])("%s has its parts", (uri, trustDomain, path) => {
    expect(parseSpiffeId(uri)).toEqual({ uri, trustDomain, path });
  });

  it.each<[string, string, string]>([
    ["ID-01", "another scheme", "https://td/a"],
    ["ID-01", "no scheme", "td/a"],
    ["ID-01", "a scheme with one slash", "spiffe:/td/a"],
    ["ID-01", "a scheme with three slashes", "spiffe:///td/a"],
    ["ID-01", "a longer scheme", "spiffes://td/a"],
    ["ID-01", "a blank before it", " spiffe://td/a"],
    ["ID-01", "nothing at all", ""],
    ["ID-02", "a query", "spiffe://td/a?b"],
    ["ID-02", "an empty query", "spiffe://td/a?"],
    ["ID-02", "a query without path", "spiffe://td?a"],
    ["ID-02", "a fragment", "spiffe://td/a#b"],
    ["ID-02", "an empty fragment", "spiffe://td/a#"],
    ["ID-03", "an empty trust domain", "spiffe:///a"],
    ["ID-03", "nothing behind the scheme", "spiffe://"],
    ["ID-04", "a user", "spiffe://user@td/a"],
    ["ID-04", "an empty user", "spiffe://@td/a"],
    ["ID-04", "a password", "spiffe://user:secret@td/a"],
    ["ID-04", "a port", "spiffe://td:8443/a"],
    ["ID-04", "an empty port", "spiffe://td:/a"],
    ["ID-05", "an upper-case trust domain", "spiffe://TD/a"],
    ["ID-05", "percent-encoding in the trust domain", "spiffe://t%64/a"],
    ["ID-05", "an IPv6 literal", "spiffe://[::1]/a"],
    ["ID-05", "a trust domain beyond ASCII", "spiffe://t\u0064\u0301/a"],
    ["ID-05", "the Kelvin sign, which folds to k", "spiffe://\u212a/a"],
    ["ID-07", "percent-encoding in the path", "spiffe://td/%61"],
    ["ID-07", "a blank in the path", "spiffe://td/a b"],
    ["ID-07", "a newline behind the path", "spiffe://td/a\n"],
    ["ID-07", "a NUL in the path", "spiffe://td/a\0"],
    ["ID-07", "a backslash", "spiffe://td/a\\b"],
    ["ID-07", "a path beyond ASCII", "spiffe://td/\u00e9"],
    ["ID-07", "half a surrogate pair", "spiffe://td/\ud800"],
    ["ID-08", "an empty segment", "spiffe://td//a"],
    ["ID-08", "an empty segment within", "spiffe://td/a//b"],
    ["ID-08", "a . segment", "spiffe://td/./a"],
    ["ID-08", "a . segment at the end", "spiffe://td/a/."],
    ["ID-08", "a .. segment", "spiffe://td/../a"],
    ["ID-08", "a .. segment at the end", "spiffe://td/a/.."],
    ["ID-09", "a slash behind the trust domain", "spiffe://td/"],
    ["ID-09", "a slash behind the path", "spiffe://td/a/"],
    ["ID-11", "an upper-case scheme", "SPIFFE://td/a"],
    ["ID-11", "a mixed-case scheme", "Spiffe://td/a"],
  ])("%s: is refused for %s", (_rule, _fault, text) => {
    expect(outcomeOf(() => parseSpiffeId(text))).toBe("spiffe_id_malformed");
  });

  it("ID-05: has only a-z 0-9 . - _ in its trust domain, of all 256 byte values at each place", () => {
    for (const char of allBytes) {
      for (const trustDomain of [char, `${char}td`, `t${char}d`, `td${char}`]) {
        // A slash ends the trust domain, so it makes other IDs, one of which ("t" and "/d") is valid.
        const allowed = inTrustDomain.has(char) || (char === "/" && trustDomain === "t/d");
        for (const path of ["", "/a"]) {
          const bare = char === "/" && trustDomain === "td/" ? "spiffe_id_malformed" : undefined;
          const expected = bare ?? (allowed ? "accepted" : "spiffe_id_malformed");
          expect([char, path, outcomeOf(() => parseSpiffeId(`spiffe://${trustDomain}${path}`))]).toEqual([char, path, expected]);
        }
        const name = inTrustDomain.has(char) ? "accepted" : "trust_domain_malformed";
        expect([char, outcomeOf(() => parseTrustDomain(trustDomain))]).toEqual([char, name]);
      }
    }
  });

  it("ID-07: has only a-z A-Z 0-9 . - _ in its path segments, of all 256 byte values at each place", () => {
    for (const char of allBytes) {
      for (const segment of [`${char}ab`, `a${char}b`, `ab${char}`]) {
        const allowed = inPath.has(char) ? "accepted" : "spiffe_id_malformed";
        expect([char, outcomeOf(() => spiffeId("td", segment, "x"))]).toEqual([char, allowed]);
        // Only through the text may a slash split a segment in two.
        const parsed = char === "/" && segment === "a/b" ? "accepted" : allowed;
        expect([char, outcomeOf(() => parseSpiffeId(`spiffe://td/${segment}/x`))]).toEqual([char, parsed]);
        expect([char, outcomeOf(() => parseSpiffeId(`spiffe://td/x/${segment}`))]).toEqual([char, parsed]);
      }
    }
  });

  it("ID-01: has no other byte at any place of its scheme", () => {
    const uri = "spiffe://td/a";
    for (let place = 0; place < "spiffe://".length; place++) {
      for (const char of allBytes) {
        const text = uri.slice(0, place) + char + uri.slice(place + 1);
        expect([text, outcomeOf(() => parseSpiffeId(text))]).toEqual([text, text === uri ? "accepted" : "spiffe_id_malformed"]);
      }
    }
  });

  it("ID-10: has at most 2048 bytes, its trust domain at most 255", () => {
    const idOf = (length: number): string => `spiffe://td/${"a".repeat(length - "spiffe://td/".length)}`;
    expect(parseSpiffeId(idOf(2048)).uri).toHaveLength(2048);
    expect(outcomeOf(() => parseSpiffeId(idOf(2049)))).toBe("spiffe_id_malformed");
    expect(outcomeOf(() => spiffeId("td", "a".repeat(2048)))).toBe("spiffe_id_malformed");
    expect(parseSpiffeId(`spiffe://${"t".repeat(255)}/a`).trustDomain).toHaveLength(255);
    expect(outcomeOf(() => parseSpiffeId(`spiffe://${"t".repeat(256)}/a`))).toBe("spiffe_id_malformed");
    expect(parseTrustDomain("t".repeat(255))).toHaveLength(255);
    expect([isTrustDomain("t".repeat(255)), isTrustDomain("t".repeat(256))]).toEqual([true, false]);
    expect(outcomeOf(() => parseTrustDomain("t".repeat(256)))).toBe("trust_domain_malformed");
  });

  it("ID-11: keeps the case of its path, so two spellings are two identities", () => {
    expect(parseSpiffeId("spiffe://td/Cart").uri).not.toBe(parseSpiffeId("spiffe://td/cart").uri);
  });

  it("is built from its parts, and no part may smuggle in another", () => {
    expect(spiffeId("td", "ns", "shop").uri).toBe("spiffe://td/ns/shop");
    expect(spiffeId("td")).toEqual({ uri: "spiffe://td", trustDomain: "td", path: "" });
    for (const segment of ["", ".", "..", "a/b", "/", "a?b", "%2e", "*"]) {
      expect([segment, outcomeOf(() => spiffeId("td", segment))]).toEqual([segment, "spiffe_id_malformed"]);
    }
    for (const trustDomain of ["", "td/a", "TD", "td:1", "u@td", "spiffe://td"]) {
      expect([trustDomain, outcomeOf(() => spiffeId(trustDomain, "a"))]).toEqual([trustDomain, "trust_domain_malformed"]);
    }
  });

  it("refused, is explained without being repeated", () => {
    expect(() => parseSpiffeId("spiffe://td/top secret")).toThrow(/segment/);
    expect(() => parseSpiffeId("spiffe://td/top secret")).not.toThrow(/secret/);
    expect(() => parseSpiffeId("spiffe://td:1/a")).toThrow(/port/);
    expect(() => parseSpiffeId("Spiffe://td/a")).toThrow(/lower case/);
    expect(() => parseSpiffeId(`spiffe://td/${"a".repeat(3000)}`)).toThrow(/2048/);
  });

  it("is read alike by the URL parser, whatever else we let through", () => {
    const char = fc.constantFrom(..."aZ0.-_/:%@?#[]\\ \n\u00e9");
    fc.assert(fc.property(fc.string({ unit: char, maxLength: 12 }), (rest) => {
      const text = `spiffe://${rest}`;
      if (outcomeOf(() => parseSpiffeId(text)) !== "accepted") return;
      const { host, pathname, href } = new URL(text);
      expect({ uri: href, trustDomain: host, path: pathname }).toEqual(parseSpiffeId(text));
    }), { numRuns: 5000 });
  });
});

describe("a pattern", () => {
  const matches = (pattern: string, id: string): boolean => matchesSpiffeIdPattern(parseSpiffeIdPattern(pattern), parseSpiffeId(id));

  it.each<[string, string, boolean]>([
    ["spiffe://td/a", "spiffe://td/a", true],
    ["spiffe://td/a", "spiffe://td/A", false],
    ["spiffe://td/a", "spiffe://td/a/b", false],
    ["spiffe://td/a", "spiffe://td/ab", false],
    ["spiffe://td/a", "spiffe://other/a", false],
    ["spiffe://td", "spiffe://td", true],
    ["spiffe://td", "spiffe://td/a", false],
    ["spiffe://td/*", "spiffe://td/a", true],
    ["spiffe://td/*", "spiffe://td/a/b/c", true],
    ["spiffe://td/*", "spiffe://td", false],
    ["spiffe://td/*", "spiffe://td.evil/a", false],
    ["spiffe://td/*", "spiffe://tdx/a", false],
    ["spiffe://td/ns/shop/*", "spiffe://td/ns/shop/sa/cart", true],
    ["spiffe://td/ns/shop/*", "spiffe://td/ns/shop", false],
    ["spiffe://td/ns/shop/*", "spiffe://td/ns/shopping/sa/cart", false],
    ["spiffe://td/ns/shop/*", "spiffe://other/ns/shop/sa/cart", false],
  ])("%s on %s: %s", (pattern, id, expected) => {
    expect(matches(pattern, id)).toBe(expected);
  });

  it("matches below a prefix exactly what continues it with whole segments", () => {
    const segments = fc.array(fc.constantFrom("a", "b", "ab", ".a"), { maxLength: 4 });
    fc.assert(fc.property(segments, segments, (prefix, path) => {
      const below = path.length > prefix.length && prefix.every((segment, index) => path[index] === segment);
      expect(matches(`${spiffeId("td", ...prefix).uri}/*`, spiffeId("td", ...path).uri)).toBe(below);
    }));
  });

  it.each([
    "*", "", "/*", "spiffe://*", "spiffe://*/a", "spiffe:///*", "spiffe://td*", "spiffe://td/a*", "spiffe://td/*/b", "spiffe://td/**",
    "spiffe://td/*/*", "spiffe://td//*", "spiffe://td/a/../*", "spiffe://TD/*", "spiffe://td/a/", "spiffe://td/*\n", "https://td/*",
    `spiffe://td/${"a".repeat(2048)}/*`,
  ])("%j is refused", (text) => {
    expect(outcomeOf(() => parseSpiffeIdPattern(text))).toBe("spiffe_id_pattern_malformed");
  });

  it("knows its trust domain", () => {
    expect(parseSpiffeIdPattern("spiffe://td/a/*")).toEqual({ text: "spiffe://td/a/*", trustDomain: "td", matchesBelow: true });
    expect(parseSpiffeIdPattern("spiffe://td/a")).toEqual({ text: "spiffe://td/a", trustDomain: "td", matchesBelow: false });
  });
});
