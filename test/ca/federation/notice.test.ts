import { expect, test } from "vitest";
import type { DocumentSet, PresentDocument } from "../../../ca/documents.ts";
import { noticeSince } from "../../../ca/federation/notice.ts";
import { encodeBundle } from "../../../ca/pki/bundle.ts";
import { testAuthority } from "../../support/test-ca.ts";

const authority = testAuthority({ trustDomain: "any" });
const bundleOf = (sequence: number): string => encodeBundle({ ...authority.bundle(), sequence: BigInt(sequence) });
const row = (kind: PresentDocument["kind"], name: string, sequence: number, document: object): PresentDocument => (
  { kind, name, sequence, changedAtMs: 0, changedBy: "system", body: JSON.stringify(document) }
);

/** Trust domains with the sequence of their bundle's document; undefined: there is no bundle yet. */
function documents(domains: Readonly<Record<string, number | undefined>>, sequence = 100): DocumentSet {
  const none = new Map<string, PresentDocument>();
  const named = Object.keys(domains);
  return {
    sequence, sequences: { operator: 0, policy: 0, service: 0, federation: 0, "foreign-bundle": 0, "federation-invitation": 0, "federation-hub": 0 },
    byKind: {
      operator: none, policy: none, service: none, "federation-invitation": none, "federation-hub": none,
      federation: new Map(named.map((name) => [name, row("federation", name, 1, { trustDomain: name, profile: "https_web", endpointUrl: `https://${name}/` })])),
      "foreign-bundle": new Map(named.flatMap((name) => {
        const at = domains[name];
        return at === undefined ? [] : [[name, row("foreign-bundle", name, at, { bundle: bundleOf(at) })]];
      })),
    },
  };
}
const read = (json: string) => JSON.parse(json) as { readonly sequence: number; readonly trustDomains: readonly string[]; readonly bundles: Record<string, object> };

test("FE-24: a notice has each trust domain's bundle under its name, with all 64 bits of its sequence", () => {
  const { json, more } = noticeSince(documents({ west: 3, north: undefined }), 0);
  expect(json).toBe(`{"sequence":100,"trustDomains":["north","west"],"bundles":{"west":${bundleOf(3)}}}`);
  expect(more).toBe(false);
});

test("who has read up to a sequence is told only what changed since, and of all who is still there", () => {
  const { json } = noticeSince(documents({ west: 3, north: 8 }), 3);
  expect(read(json)).toMatchObject({ sequence: 100, trustDomains: ["north", "west"] });
  expect(Object.keys(read(json).bundles)).toEqual(["north"]);
  expect(read(noticeSince(documents({ west: 3 }), 8).json)).toEqual({ sequence: 100, trustDomains: ["west"], bundles: {} });
});

test("a thousand bundles come in several notices, each of which goes on behind the one before, and none is left out", () => {
  const set = documents(Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`d${index}`, 10 + (index % 500)])), 2000);
  const seen = new Set<string>();
  let notices = 0;
  for (let after = 0, more = true; more; notices++) {
    const notice = noticeSince(set, after);
    expect(notice.sequence).toBeGreaterThan(after);
    expect(notice.json.length).toBeLessThan(512 * 1024);
    for (const name of Object.keys(read(notice.json).bundles)) seen.add(name);
    [after, more] = [notice.sequence, notice.more];
  }
  expect([seen.size, notices > 1]).toEqual([1000, true]);
});
