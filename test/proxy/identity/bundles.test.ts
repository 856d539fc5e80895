import { describe, expect, test } from "vitest";
import { encodeBundle } from "../../../ca/pki/bundle.ts";
import { mergeBundles, mergeOwnBundle, sameBundles, type HeldBundles } from "../../../proxy/identity/bundles.ts";
import { testAuthority } from "../../support/test-ca.ts";

const textOf = (trustDomain: string, sequence: bigint): string => encodeBundle({ ...testAuthority({ trustDomain }).bundle(), sequence });
const empty: HeldBundles = new Map();
const eastOne = textOf("east", 1n);
const westOne = textOf("west", 1n);
const { held } = mergeBundles("east", empty, { east: eastOne, west: westOne });

const sequences = (bundles: HeldBundles) => Object.fromEntries([...bundles].map(([name, { bundle }]) => [name, bundle.sequence]));

describe("an offer of the CA", () => {
  test("is taken, each bundle under its own trust domain", () => {
    expect(sequences(held)).toEqual({ east: 1n, west: 1n });
    expect([...held.values()].map(({ bundle }) => bundle.trustDomain)).toEqual(["east", "west"]);
  });

  test("with the same texts gives the very same bundles, so that nothing is verified anew", () => {
    const again = mergeBundles("east", held, { east: eastOne, west: westOne });
    expect(again.held.get("east")).toBe(held.get("east"));
    expect(sameBundles(again.held, held)).toBe(true);
  });

  test("that is older than what is held is refused, a newer one taken", () => {
    const newer = mergeBundles("east", held, { east: textOf("east", 5n) });
    expect(newer.held.get("east")?.bundle.sequence).toBe(5n);
    const older = mergeBundles("east", newer.held, { east: textOf("east", 4n) });
    expect(older.held.get("east")).toBe(newer.held.get("east"));
    expect(older.refused).toMatchObject([{ trustDomain: "east" }]);
  });

  test("that has no sequence does not win over one that has: nobody could tell that it is not an old one", () => {
    const unnumbered = encodeBundle(testAuthority({ trustDomain: "east" }).bundle());
    const { held: merged, refused } = mergeBundles("east", held, { east: unnumbered });
    expect(merged.get("east")).toBe(held.get("east"));
    expect(refused).toMatchObject([{ trustDomain: "east", reason: expect.stringContaining("no sequence") as string }]);
    const first = mergeBundles("east", empty, { east: unnumbered });
    expect(sequences(mergeBundles("east", first.held, { east: eastOne }).held)).toEqual({ east: 1n });
  });

  test("that cannot be read leaves the last good one of that trust domain, and harms no other", () => {
    const { held: merged, refused } = mergeBundles("east", held, { east: textOf("east", 2n), west: "{", "NOT A DOMAIN": eastOne });
    expect(sequences(merged)).toEqual({ east: 2n, west: 1n });
    expect(refused.map(({ trustDomain }) => trustDomain)).toEqual(["west", "NOT A DOMAIN"]);
  });

  test("that would take away our last anchor is refused; another domain may withdraw all of its own", () => {
    const none = (trustDomain: string) => encodeBundle({ trustDomain, x509Authorities: [], jwtAuthorities: [], sequence: 9n });
    const { held: merged } = mergeBundles("east", held, { east: none("east"), west: none("west") });
    expect(merged.get("east")).toBe(held.get("east"));
    expect(merged.get("west")?.bundle.x509Authorities).toEqual([]);
  });

  test("without a trust domain ends its trust, except for our own", () => {
    expect(sequences(mergeBundles("east", held, {}).held)).toEqual({ east: 1n });
  });

  test("of our own bundle alone leaves the others", () => {
    const { held: merged } = mergeOwnBundle("east", held, textOf("east", 2n));
    expect(sequences(merged)).toEqual({ east: 2n, west: 1n });
    expect(merged.get("west")).toBe(held.get("west"));
  });
});
