import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { foldPath, matchesFoldedPath, matchesPath, normalizePath, parsePathPattern } from "../../../ca/policy/http-path.ts";

describe("a path that every server reads the same way", () => {
  test.for([
    ["/", []],
    ["/a", ["a"]],
    ["/a/", ["a"]],
    ["/a/b?c=/../d", ["a", "b"]],
    ["/a?", ["a"]],
    ["/%61dmin", ["admin"]],
    ["/caf%C3%A9", ["café"]],
    ["/a%20b", ["a b"]],
    ["/...", ["..."]],
    ["/a,b=c:d@e!$&'()*+~_.-", ["a,b=c:d@e!$&'()*+~_.-"]],
    ["/[x]|^`{}\"<>", ["[x]|^`{}\"<>"]],
  ] as const)("%s", ([target, segments]) => {
    expect(normalizePath(target)).toEqual(segments);
  });
});

describe("a path that one server may take for another", () => {
  test.for([
    "", "a", "*", "http://host/a", "host:443",
    "//a", "/a//b", "/a//", "//",
    "/.", "/..", "/a/../b", "/a/./b", "/a/..", "/%2e%2e/a", "/.%2e/a", "/%2E/a", "/a/%2e%2e",
    "/a%2fb", "/a%2Fb", "/a%5cb", "/a\\b", "/..\\a",
    "/admin;x", "/a/..;/b", "/a%3bx", "/a%3fb", "/a%23b", "/a#b",
    "/a%00", "/a%0d%0ab", "/a%7f", "/a%c2%80", "/a\u0000", "/a\tb", "/a b", "/a\u00e9",
    "/a%", "/a%2", "/a%zz", "/%252e%252e", "/a%252fb", "/100%25",
    "/%c0%af", "/%c0%ae%c0%ae", "/%e0%80%af", "/%ff", "/%ed%a0%80",
    `/${"a".repeat(8192)}`,
  ])("%j", (target) => {
    expect(normalizePath(target)).toBeUndefined();
  });

  test("is found in no time, however long", () => {
    for (const target of ["/".repeat(8000), "/%2e".repeat(2000), "/a".repeat(4000), `/${"%".repeat(8000)}`]) normalizePath(target);
  });
});

test("what comes out has no delimiter, no dot segment and no control character, whatever goes in", () => {
  const nasty = fc.array(fc.constantFrom("/", "%2f", "%2e", ".", "..", "a", "%61", "%25", "%", "%c3%a9", "%00", ";", "\\", "?", "#", "é", " ", "%5C", "2e"), { maxLength: 12 });
  fc.assert(fc.property(nasty, (parts) => {
    for (const segment of normalizePath(`/${parts.join("")}`) ?? []) expect(segment).not.toMatch(/^\.{0,2}$|[/\\?#;%\u0000-\u001f\u007f]/);
  }), { numRuns: 500 });
});

describe("a path pattern", () => {
  const cases: readonly (readonly [pattern: string, fitting: readonly string[], others: readonly string[]])[] = [
    ["/", ["/"], ["/a"]],
    ["/a", ["/a", "/a/", "/%61"], ["/", "/a/b", "/ab", "/A"]],
    ["/a/*", ["/a/b", "/a/b/c"], ["/a", "/a/", "/ab/c"]],
    ["/a/*/c", ["/a/b/c"], ["/a/c", "/a/b/d/c", "/a/b/c/d"]],
    ["/*", ["/", "/a", "/a/b"], []],
    ["/*/x", ["/a/x"], ["/x", "/a/b/x"]],
    ["/*/*", ["/a/b", "/a/b/c"], ["/a", "/"]],
    ["/v1.2/café", ["/v1.2/caf%C3%A9"], ["/v1x2/caf%C3%A9"]],
  ];
  for (const [text, fitting, others] of cases) {
    test(`${text} is whole segments`, () => {
      const pattern = parsePathPattern(text)!;
      expect(fitting.filter((target) => !matchesPath(pattern, normalizePath(target)!))).toEqual([]);
      expect(others.filter((target) => matchesPath(pattern, normalizePath(target)!))).toEqual([]);
    });
  }

  test("that denies takes letter case as servers do that do not tell it apart", () => {
    const pattern = parsePathPattern("/Admin/*")!;
    for (const target of ["/admin/x", "/ADMIN/x", "/%41dmin/x"]) expect(matchesFoldedPath(pattern, foldPath(normalizePath(target)!))).toBe(true);
    expect(matchesFoldedPath(pattern, ["administrator", "x"])).toBe(false);
  });

  test.for(["", "a", "/a/", "//", "/a//b", "/a*", "/*a", "/**", "/a/**/b", "/..", "/a/./b", "/a?b", "/a#b", "/%61", "/a;b", "/a\\b", "/a b", "/a\u0000", "/a\nb"])(
    "is not %j", (text) => {
      expect(parsePathPattern(text)).toBeUndefined();
    },
  );
});
