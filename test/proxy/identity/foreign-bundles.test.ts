import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { encodeBundleMap } from "../../../ca/pki/bundle-map.ts";
import { encodeBundle, type Bundle } from "../../../ca/pki/bundle.ts";
import { foreignBundles } from "../../../proxy/identity/foreign-bundles.ts";
import { recordedLog } from "../../support/recorded-log.ts";
import { testAuthority } from "../../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-foreign-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, "map.json");
const bundleOf = (trustDomain: string): Bundle => testAuthority({ trustDomain }).bundle();
const [east, west, north] = [bundleOf("east"), bundleOf("west"), bundleOf("north")];
const write = (...bundles: readonly Bundle[]): void => writeFileSync(path, encodeBundleMap(new Map(bundles.map((bundle) => [bundle.trustDomain, bundle]))));
function opened(files: ReadonlyMap<string, string> = new Map()) {
  const log = recordedLog();
  const foreign = foreignBundles({ files, map: path, own: "east" }, log);
  const roots = () => Object.fromEntries([...foreign.held()].map(([name, { bundle }]) => [name, bundle.x509Authorities[0]?.fingerprint]));
  return { ...foreign, roots, errors: () => log.lines.filter(({ level }) => level === "error") };
}
const rootOf = ({ x509Authorities }: Bundle): string => x509Authorities[0]!.fingerprint;

test("BF-16: a bundle map is the state of the world: who is in it no more is believed no more", () => {
  write(west, north);
  const { refresh, roots } = opened();
  expect(roots()).toEqual({ west: rootOf(west), north: rootOf(north) });
  write(north);
  refresh();
  expect(roots()).toEqual({ north: rootOf(north) });
});

test("BF-12, BF-16: one that cannot be read whole changes nothing, and is told of once", () => {
  write(west);
  const { refresh, roots, errors } = opened();
  const other = encodeBundle(bundleOf("west"));
  for (const text of [`{"trust_domains":{"west":${other},"north":{}}}`, `{"trust_domains":{"west":${other},"west":${other}}}`, "{"]) {
    writeFileSync(path, text);
    refresh();
    refresh();
    expect(roots()).toEqual({ west: rootOf(west) });
  }
  expect(errors()).toHaveLength(3);
  expect(errors()[0]).toMatchObject({ message: expect.stringContaining("the last good one stays in force") as string, fields: { path } });
});

test("a bundle map has no say in who our own trust domain is, nor in one that has a file of its own", () => {
  write(bundleOf("east"), bundleOf("west"), north);
  const file = join(folder, "west.json");
  writeFileSync(file, encodeBundle(west));
  expect(opened(new Map([["west", file]])).roots()).toEqual({ west: rootOf(west), north: rootOf(north) });
  expect(rootOf(east)).toBeDefined();
  // Also where that file is not there, or not one: then nobody is let in.
  rmSync(file);
  expect(opened(new Map([["west", file]])).roots()).toEqual({ north: rootOf(north) });
});

test("a bundle map that was never read lets nobody in", () => {
  rmSync(path);
  const { roots, errors } = opened();
  expect([roots(), errors()]).toMatchObject([{}, [{ fields: { error: "ENOENT" } }]]);
});
