import { describe, expect, test } from "vitest";
import { encodeBundle } from "../../../ca/pki/bundle.ts";
import { encodeBundleMap, parseBundleMap } from "../../../ca/pki/bundle-map.ts";
import { testAuthority } from "../../support/test-ca.ts";

const bundleOf = (trustDomain: string) => ({ ...testAuthority({ trustDomain }).bundle(), sequence: 2n ** 64n - 1n, refreshHintSeconds: 60 });
const [east, west] = [bundleOf("east"), bundleOf("west.example")];
const map = encodeBundleMap(new Map([["east", east], ["west.example", west]]));
const one = encodeBundle(east);
const fingerprints = (text: string) => [...parseBundleMap(text)].map(([name, { x509Authorities }]) => [name, x509Authorities[0]?.fingerprint]);

describe("a bundle map", () => {
  test("BF-02, BF-11: has each trust domain's own bundle by its name, and may have none", () => {
    expect(fingerprints(map)).toEqual([["east", east.x509Authorities[0]!.fingerprint], ["west.example", west.x509Authorities[0]!.fingerprint]]);
    expect(parseBundleMap(map).get("east")).toMatchObject({ trustDomain: "east", sequence: 2n ** 64n - 1n });
    expect([encodeBundleMap(new Map()), [...parseBundleMap(encodeBundleMap(new Map()))]]).toEqual([`{"trust_domains":{}}`, []]);
  });

  test("BF-13: is written without refresh hints, and those in it are not looked at", () => {
    expect(map).not.toContain("refresh_hint");
    expect(parseBundleMap(`{"trust_domains":{"east":${one}}}`).get("east")).not.toHaveProperty("refreshHintSeconds");
  });

  test("BF-09: may have more than is known", () => {
    expect(fingerprints(`{"more":[{"a":1},{"a":1}],"trust_domains":{"east":${one}}}`)).toHaveLength(1);
  });

  test.each(["East", "", "east/", "spiffe://east", "a".repeat(256)])("BF-11: is neither written nor read with %j as a trust domain", (name) => {
    expect(() => encodeBundleMap(new Map([[name, east]]))).toThrow(expect.objectContaining({ code: "trust_domain_malformed" }));
    expect(() => parseBundleMap(`{"trust_domains":{${JSON.stringify(name)}:${one}}}`)).toThrow(expect.objectContaining({ code: "trust_domain_malformed" }));
  });

  test.each<[string, string]>([
    ["a trust domain twice", `{"trust_domains":{"east":${one},"west":${one},"east":${one}}}`],
    ["a trust domain twice, once in other letters", `{"trust_domains":{"east":${one},"\\u0065ast" : ${one}}}`],
    ["all of them twice", `{"trust_domains":{},"trust_domains":{"east":${one}}}`],
    ["a member of a bundle twice", `{"trust_domains":{"east":{"keys":[],"keys":${one.slice(one.indexOf("["), one.lastIndexOf("]") + 1)}}}}`],
  ])("BF-12: is refused with %s", (_claim, text) => {
    expect(() => JSON.parse(text) as unknown).not.toThrow();
    expect(() => parseBundleMap(text)).toThrow(/is there twice/);
  });

  test("BF-12: is not refused for what only looks like a member's name", () => {
    expect(fingerprints(`{"a":"east\\":\\"","b":["x","x","\\\\"],"c":"{\\"c\\":1","trust_domains":{"east":${one}}}`)).toHaveLength(1);
  });

  test.each<[string, string]>([
    ["no JSON", "{"], ["a list", "[]"], ["no trust domains", "{}"], ["trust domains that are a list", `{"trust_domains":[]}`],
    ["one bundle that is none", `{"trust_domains":{"east":${one},"west":{}}}`], ["one bundle that is no object", `{"trust_domains":{"east":${one},"west":null}}`],
  ])("BF-05, BF-16: is taken whole or not at all: %s", (_claim, text) => {
    expect(() => parseBundleMap(text)).toThrow(expect.objectContaining({ code: "bundle_malformed" }));
  });

  test("has up to two thousand trust domains", () => {
    const many = (count: number) => `{"trust_domains":{${Array.from({ length: count }, (_, index) => `"d${index}":{"keys":[]}`).join(",")}}}`;
    expect(parseBundleMap(many(2000)).size).toBe(2000);
    expect(() => parseBundleMap(many(2001))).toThrow(expect.objectContaining({ code: "bundle_limit_exceeded" }));
    expect(() => parseBundleMap(" ".repeat(8 * 1024 * 1024 + 1))).toThrow(expect.objectContaining({ code: "bundle_limit_exceeded" }));
  });
});
