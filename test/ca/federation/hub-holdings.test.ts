import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { noteSigner } from "../../../ca/audit/note-signer.ts";
import { storedBundle, type HeldRelationship } from "../../../ca/federation/documents.ts";
import { holdingsOf, readHubHoldings, signHubHoldings } from "../../../ca/federation/hub-holdings.ts";
import { memberKeyName } from "../../../ca/federation/hub-notes.ts";
import { testAuthority } from "../../support/test-ca.ts";

const signer = noteSigner(memberKeyName("east"), generateKeyPairSync("ed25519").privateKey);
const bundle = testAuthority({ trustDomain: "west" }).bundle();
const relationship = (changedAtMs: number, more: Partial<HeldRelationship> = {}): HeldRelationship => ({
  trustDomain: "west", profile: "https_web", endpointUrl: "https://hub.example/west.bundle.note", hub: { name: "hub.example", key: "" }, addedAtMs: 0, addedBy: "system",
  held: { ...storedBundle({ ...bundle, sequence: 7n }, "one"), parsed: { ...bundle, sequence: 7n }, changedAtMs, sequence: 1 }, ...more,
});
const of = (one: HeldRelationship, before = {}) => Object.fromEntries(holdingsOf(new Map([["west", one]]), new Map(Object.entries(before)), 1000));

test("a bundle is said to be held once it is with all proxies, and until then as it was", () => {
  expect(of(relationship(1000))).toEqual({ west: { feedEpoch: "one", bundleSequence: "7" } });
  expect(of(relationship(1001), { west: { feedEpoch: "one", bundleSequence: "6" } })).toEqual({ west: { feedEpoch: "one", bundleSequence: "6" } });
  // Not left out: a root over there would not wait for this CA then.
  expect(of(relationship(1001))).toEqual({ west: { feedEpoch: "one", bundleSequence: "0" } });
});

test("nothing is said of whom another way led here, nor of whom there is no bundle", () => {
  expect(of({ ...relationship(0), hub: undefined! })).toEqual({});
  expect(of(relationship(0, { held: undefined }))).toEqual({});
});

test("what is said of two thousand is read as it was signed", () => {
  const held = new Map(Array.from({ length: 2000 }, (_, index) => [`cluster-${index}.${"x".repeat(60)}.example`, { feedEpoch: "5f0c6d1e2a3b4c5d", bundleSequence: String(2n ** 64n - 1n) }]));
  const note = signHubHoldings({ trustDomain: "east", signedAtMs: 0, held }, signer);
  expect(readHubHoldings(note, "east", signer.verifierKey)).toEqual({ trustDomain: "east", signedAtMs: 0, held });
  held.set("one-more.example", held.values().next().value!);
  expect(() => readHubHoldings(signHubHoldings({ trustDomain: "east", signedAtMs: 0, held }, signer), "east", signer.verifierKey)).toThrow(/names 2001/);
});

test.each(["west", "west one", "west one 07", "west one -1", "West one 1", "west  one 1", " one 1", `west one ${"9".repeat(21)}`])("a line that names no bundle refuses all of it: %s", (line) => {
  const note = signer.sign(["countersign.dev/federation-hub/holdings/v1", "east", new Date(0).toISOString(), line, ""].join("\n"));
  expect(() => readHubHoldings(note, "east", signer.verifierKey)).toThrow(/names no bundle/);
});
