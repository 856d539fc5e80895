import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseSpiffeId } from "../../../ca/pki/spiffe-id.ts";
import { covers, matchesAnyId, parseIdPattern } from "../../../ca/policy/id-pattern.ts";

describe("a pattern of SPIFFE IDs", () => {
  test.for<[string, readonly string[], readonly string[]]>([
    ["spiffe://east/a", ["spiffe://east/a"], ["spiffe://east/a/b", "spiffe://east/ab", "spiffe://east/A", "spiffe://east", "spiffe://eas/t/a"]],
    ["spiffe://east/ns/*/sa/web", ["spiffe://east/ns/shop/sa/web"], ["spiffe://east/ns/shop/x/sa/web", "spiffe://east/ns/sa/web", "spiffe://east/ns/shop/sa/web/x", "spiffe://west/ns/shop/sa/web"]],
    ["spiffe://east/ns/shop/*", ["spiffe://east/ns/shop/sa", "spiffe://east/ns/shop/sa/web"], ["spiffe://east/ns/shop", "spiffe://east/ns/shopping/sa"]],
    ["spiffe://east/*", ["spiffe://east/a", "spiffe://east/a/b"], ["spiffe://east", "spiffe://east.example/a", "spiffe://west/a"]],
    ["spiffe://east/*/*", ["spiffe://east/a/b", "spiffe://east/a/b/c"], ["spiffe://east/a"]],
  ])("%s is whole segments", ([text, fitting, others]) => {
    const pattern = parseIdPattern(text)!;
    expect(fitting.filter((id) => !matchesAnyId([pattern], parseSpiffeId(id)))).toEqual([]);
    expect(others.filter((id) => matchesAnyId([pattern], parseSpiffeId(id)))).toEqual([]);
  });

  test.for([
    "", "*", "spiffe://*/a", "spiffe://east", "spiffe://east/", "spiffe://*", "spiffe://east/a*", "spiffe://east/*a", "spiffe://east/**", "spiffe://east/a/**",
    "spiffe://east/../a", "spiffe://EAST/a", "*://east/a", "spiffe:/*/east/a", "spiffe://east/a//*", "spiffe://e*st/a", "east/a", `spiffe://east/${"a".repeat(2048)}`,
  ])("is not %j", (text) => {
    expect(parseIdPattern(text)).toBeUndefined();
  });

  test("covers another exactly if it fits every ID that the other fits", () => {
    const segment = fc.constantFrom("a", "b", "*");
    const text = fc.array(segment, { minLength: 1, maxLength: 3 }).map((segments) => `spiffe://east/${segments.join("/")}`);
    const ids = ["a", "b", "c"].flatMap((x) => [x, ...["a", "b", "c"].flatMap((y) => [`${x}/${y}`, ...["a", "b", "c"].flatMap((z) => [`${x}/${y}/${z}`, `${x}/${y}/${z}/c`])])])
      .map((path) => parseSpiffeId(`spiffe://east/${path}`));
    fc.assert(fc.property(text, text, (outerText, innerText) => {
      const [outer, inner] = [parseIdPattern(outerText)!, parseIdPattern(innerText)!];
      const everyone = ids.filter((id) => matchesAnyId([inner], id)).every((id) => matchesAnyId([outer], id));
      expect(covers(outer, inner)).toBe(everyone);
    }), { numRuns: 500 });
    expect(covers(parseIdPattern("spiffe://east/*")!, parseIdPattern("spiffe://west/a")!)).toBe(false);
  });
});
