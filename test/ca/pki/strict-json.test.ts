import { describe, expect, test } from "vitest";
import { parseStrictObject } from "../../../ca/pki/strict-json.ts";
import { outcomeOf } from "../../support/outcome.ts";

const outcome = (text: string | Uint8Array) => outcomeOf(() => parseStrictObject(Buffer.from(text), "jwt_svid_malformed", "it"));

describe("an object is", () => {
  test.each([
    ["{}"], ['{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}'], ['{"a":"{\\"a\\":1}","b":"a"}'], ['{"a\\\\":1,"a":"\\\\"}'], [' {"ä":["a",":","a"]} '],
  ])("read: %s", (text) => {
    expect(parseStrictObject(Buffer.from(text), "jwt_svid_malformed", "it")).toEqual(JSON.parse(text));
  });

  test.each([
    ["with a member twice", '{"a":1,"a":1}'],
    ["with a member twice, once in escapes", '{"a":1,"\\u0061":2}'],
    ["with a member twice further in", '{"a":[{"b":1,"c":{},"b":2}]}'],
    ["that is a list", "[]"], ["that is nothing", "null"], ["that is a text", '"a"'], ["that is empty", ""], ["with more behind it", "{}{}"],
    ["nested too deep", `${'{"a":'.repeat(17)}1${"}".repeat(17)}`],
    ["with a byte order mark", "\u{feff}{}"],
    ["that is not UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
  ])("refused %s", (_what, text) => {
    expect(outcome(text)).toBe("jwt_svid_malformed");
  });
});
