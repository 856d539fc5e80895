import { describe, expect, test } from "vitest";
import { encodeBundleMap, readBundleMap } from "../../../ca/pki/bundle-map.ts";
import { encodeBundle } from "../../../ca/pki/bundle.ts";
import { outcomeOf } from "../../support/outcome.ts";
import { testAuthority } from "../../support/test-ca.ts";

const [west, north] = [testAuthority({ trustDomain: "west" }), testAuthority({ trustDomain: "north" })];
const bundle = encodeBundle(west.bundle());

describe("a bundle map", () => {
  test("BF-11, BF-13: has each bundle under its trust domain's name, without a refresh hint, its sequence to 64 bits", () => {
    const text = encodeBundleMap([{ ...west.bundle(), sequence: 9007199254740993n, refreshHintSeconds: 60 }, north.bundle()]);
    expect(text).toBe(`{"trust_domains":{"north":${encodeBundle(north.bundle())},"west":${encodeBundle({ ...west.bundle(), sequence: 9007199254740993n })}}}`);
    expect(readBundleMap(text)).toEqual(["north", "west"]);
    expect(readBundleMap(encodeBundleMap([]))).toEqual([]);
  });

  test("BF-12: has each name once, whatever it is made of", () => {
    expect(readBundleMap(encodeBundleMap([west.bundle(), { ...north.bundle(), trustDomain: "west" }]))).toEqual(["west"]);
  });

  test.each([
    ["BF-12: a name twice", `{"trust_domains":{"west":${bundle},"west":${bundle}}}`, "bundle_malformed"],
    ["BF-12: a name twice, once escaped", `{"trust_domains":{"west":${bundle},"w\\u0065st":${bundle}}}`, "bundle_malformed"],
    ["BF-11: no trust_domains", "{}", "bundle_malformed"],
    ["BF-11: a list of them", `{"trust_domains":[]}`, "bundle_malformed"],
    ["BF-11: a name that is none", `{"trust_domains":{"West":${bundle}}}`, "trust_domain_malformed"],
    ["BF-16: one bundle that is none", `{"trust_domains":{"west":${bundle},"north":{}}}`, "bundle_malformed"],
    ["no JSON", "<html>", "bundle_malformed"],
  ])("%s refuses all of it", (_, text, code) => {
    expect(outcomeOf(() => readBundleMap(text))).toBe(code);
  });
});
