import { hash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { appendLeaf, emptyRange, hashChildren, hashLeaf, rootOf, type CompactRange } from "../../../ca/audit/merkle.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** The leaves of the Certificate Transparency reference implementation. */
const ctLeaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
  .map((leaf) => Buffer.from(leaf, "hex"));

const rangeOver = (leaves: readonly (Uint8Array | string)[]) =>
  leaves.reduce<CompactRange>((range, leaf) => appendLeaf(range, hashLeaf(leaf)), emptyRange);

/** RFC 6962 2.1, read literally. */
function naiveRoot(leafHashes: readonly Uint8Array[]): Uint8Array {
  if (leafHashes.length === 0) return hash("sha256", "", "buffer");
  if (leafHashes.length === 1) return leafHashes[0]!;
  let split = 1;
  while (split * 2 < leafHashes.length) split *= 2;
  const [left, right] = [naiveRoot(leafHashes.slice(0, split)), naiveRoot(leafHashes.slice(split))];
  return hash("sha256", Buffer.concat([Uint8Array.of(1), left, right]), "buffer");
}

describe("the Merkle tree", () => {
  test.each([
    [0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    [1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"],
    [7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"],
    [8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"],
  ])("over %i reference leaves has the reference root", (size, root) => {
    expect(hex(rootOf(rangeOver(ctLeaves.slice(0, size))))).toBe(root);
  });

  test("has the root of the recursive definition at every size up to 600", () => {
    const leafHashes: Uint8Array[] = [];
    let range = emptyRange;
    for (let size = 1; size <= 600; size++) {
      leafHashes.push(hashLeaf(`entry ${size}`));
      range = appendLeaf(range, leafHashes.at(-1)!);
      expect(range.size).toBe(size);
      expect(hex(rootOf(range))).toBe(hex(naiveRoot(leafHashes)));
    }
  });

  test("reports each subtree of 256 and of 65536 leaves once, where it belongs and with its root", () => {
    const leafHashes: Uint8Array[] = [];
    const reported: string[] = [];
    let range = emptyRange;
    for (let index = 0; index < 65_536 + 300; index++) {
      leafHashes.push(hashLeaf(`${index}`));
      range = appendLeaf(range, leafHashes[index]!, (level, subtree, root) => reported.push(`${level}/${subtree} ${hex(root)}`));
    }
    const expected: string[] = [];
    for (let subtree = 0; subtree < 257; subtree++) {
      expected.push(`1/${subtree} ${hex(naiveRoot(leafHashes.slice(256 * subtree, 256 * (subtree + 1))))}`);
      if (subtree === 255) expected.push(`2/0 ${hex(naiveRoot(leafHashes.slice(0, 65_536)))}`);
    }
    expect(reported).toEqual(expected);
  });

  test("goes on beyond 2^31 and 2^32 leaves", () => {
    for (const exponent of [31, 32, 40]) {
      const leaf = hashLeaf("leaf");
      const full: CompactRange = { size: 2 ** exponent - 1, hashes: Array.from({ length: exponent }, () => leaf) };
      const reported: [number, number][] = [];
      const grown = appendLeaf(full, leaf, (level, index) => reported.push([level, index]));
      expect(grown).toMatchObject({ size: 2 ** exponent });
      expect(grown.hashes).toHaveLength(1);
      expect(reported).toEqual(
        Array.from({ length: Math.floor(exponent / 8) }, (_, above) => [above + 1, 2 ** (exponent - 8 * (above + 1)) - 1]),
      );
      expect(appendLeaf(grown, leaf).hashes).toHaveLength(2);
    }
  });

  test("leaves the range it grows from as it was", () => {
    const before = rangeOver(ctLeaves.slice(0, 3));
    const root = hex(rootOf(before));
    appendLeaf(before, hashLeaf("more"));
    expect(before.size).toBe(3);
    expect(hex(rootOf(before))).toBe(root);
  });

  test("hashes text as its UTF-8 bytes, and never a leaf as it hashes a node", () => {
    expect(hex(hashLeaf("Zürich — 日本"))).toBe(hex(hashLeaf(Buffer.from("Zürich — 日本"))));
    const [left, right] = [hashLeaf("left"), hashLeaf("right")];
    expect(hex(hashChildren(left, right))).not.toBe(hex(hashLeaf(Buffer.concat([left, right]))));
  });

  test("refuses a range whose hashes do not fit its size, and a hash that is not one", () => {
    expect(() => appendLeaf({ size: 3, hashes: [] }, hashLeaf(""))).toThrow(RangeError);
    expect(() => rootOf({ size: 3, hashes: [] })).toThrow(RangeError);
    expect(() => hashChildren(new Uint8Array(31), hashLeaf(""))).toThrow(RangeError);
  });
});
