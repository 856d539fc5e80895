import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { noteSigner } from "../../../ca/audit/note-signer.ts";
import type { DocumentSet, PresentDocument } from "../../../ca/documents.ts";
import { maxRelationships } from "../../../ca/federation/documents.ts";
import { memberKeyName } from "../../../ca/federation/hub-notes.ts";
import { planHub } from "../../../ca/federation/plan-hub.ts";

const row = (kind: PresentDocument["kind"], name: string, document: object): PresentDocument => ({ kind, name, sequence: 1, changedAtMs: 0, changedBy: "system", body: JSON.stringify(document) });

/** A CA that subscribes to a hub, and is federated with so many others by another way. */
function federatedWith(count: number): DocumentSet {
  const others = Array.from({ length: count }, (_, index) => `other-${index}`);
  const byKind = {
    federation: new Map(others.map((name) => [name, row("federation", name, { trustDomain: name, profile: "https_web", endpointUrl: `https://${name}/` })])),
    "foreign-bundle": new Map(),
    "federation-hub": new Map([["hub", row("federation-hub", "hub", { url: "https://hub/", key: "" })]]),
  };
  return { sequence: 1, sequences: {}, byKind } as unknown as DocumentSet;
}

test("a hub brings no more trust domains than there may be", () => {
  const key = noteSigner(memberKeyName("west"), generateKeyPairSync("ed25519").privateKey).verifierKey;
  const read = (count: number) => planHub(federatedWith(count), { own: "east", name: "hub", members: { sequence: 1, signedAtMs: 0, keys: [key] }, nowMs: 0 });
  expect(read(maxRelationships - 1).changes.map(({ name }) => name)).toEqual(["west", "hub"]);
  expect(() => read(maxRelationships)).toThrow(expect.objectContaining({ code: "hub_refused", message: expect.stringContaining("more than") }));
});
