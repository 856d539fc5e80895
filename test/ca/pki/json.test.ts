import { describe, expect, test } from "vitest";
import { isObject, parseObject } from "../../../ca/pki/json.ts";

describe("an object of JSON", () => {
  test.each(['{"a": 1}', "{}", ' {"a": {"b": []}} '])("%s is one", (text) => {
    expect(parseObject(text)).toEqual(JSON.parse(text));
    expect(isObject(JSON.parse(text))).toBe(true);
  });

  test.each(["null", "[]", '[{"a": 1}]', '"{}"', "1", "true"])("%s is none", (text) => {
    expect(parseObject(text)).toBeUndefined();
    expect(isObject(JSON.parse(text))).toBe(false);
  });

  test.each(["", "{", "{'a': 1}", '{"a": 1} {}', "undefined"])("%j is no JSON, which is no reason to throw", (text) => {
    expect(parseObject(text)).toBeUndefined();
  });
});
