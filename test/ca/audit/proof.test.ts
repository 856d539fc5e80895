import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { AuditError } from "../../../ca/audit/errors.ts";
import { appendLeaf, emptyRange, hashChildren, hashLeaf, rootOf, type CompactRange } from "../../../ca/audit/merkle.ts";
import { consistencyProof, inclusionProof, type ProofSource } from "../../../ca/audit/proof.ts";
import { verifyConsistency, verifyInclusion } from "../../../ca/audit/verify-proof.ts";

/** A source over the leaves `0`, `1`, ... that counts the rows it gave. */
function countingSource(size: number) {
  const leafHashes: Uint8Array[] = [];
  const levels: Uint8Array[][] = [];
  const roots: Uint8Array[] = [rootOf(emptyRange)];
  let range: CompactRange = emptyRange;
  for (let index = 0; index < size; index++) {
    leafHashes.push(hashLeaf(`${index}`));
    range = appendLeaf(range, leafHashes[index]!, (level, subtree, hash) => { (levels[level] ??= [])[subtree] = hash; });
    if (size <= smallSize) roots.push(rootOf(range));
  }
  const counted = { rows: 0, queries: 0 };
  const count = <Row>(rows: Row[]) => {
    counted.rows += rows.length;
    counted.queries += 1;
    return rows;
  };
  const source: ProofSource = {
    entries: async ({ start, limit }) =>
      count(leafHashes.slice(start, start + limit).map((leafHash, at) => ({ index: start + at, body: `${start + at}`, leafHash }))),
    subtreeHashes: async ({ level, start, limit }) => count((levels[level] ?? []).slice(start, start + limit)),
  };
  return { leafHashes, roots, root: rootOf(range), levels, source, counted };
}

/** RFC 6962 2.1, 2.1.1 and 2.1.2, read literally over the leaf hashes [start, end). */
function naiveTree(leafHashes: readonly Uint8Array[]) {
  const splitOf = (count: number) => 2 ** Math.ceil(Math.log2(count) - 1);
  const known = new Map<string, Uint8Array>();
  const root = (start: number, end: number): Uint8Array => {
    if (end - start === 1) return leafHashes[start]!;
    const kept = known.get(`${start},${end}`);
    if (kept) return kept;
    const middle = start + splitOf(end - start);
    const hash = hashChildren(root(start, middle), root(middle, end));
    known.set(`${start},${end}`, hash);
    return hash;
  };
  const path = (index: number, start: number, end: number): Uint8Array[] => {
    if (end - start === 1) return [];
    const middle = start + splitOf(end - start);
    return index < middle ? [...path(index, start, middle), root(middle, end)] : [...path(index, middle, end), root(start, middle)];
  };
  const subproof = (old: number, start: number, end: number, whole: boolean): Uint8Array[] => {
    if (old === end) return whole ? [] : [root(start, end)];
    const middle = start + splitOf(end - start);
    return old <= middle
      ? [...subproof(old, start, middle, whole), root(middle, end)]
      : [...subproof(old, middle, end, false), root(start, middle)];
  };
  return { root, path, subproof };
}

const hexAll = (hashes: readonly Uint8Array[]) => hashes.map((hash) => Buffer.from(hash).toString("hex"));
const equalAll = (some: readonly Uint8Array[], others: readonly Uint8Array[]) =>
  Buffer.compare(Buffer.concat(some), Buffer.concat(others)) === 0;
const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof AuditError) return error.code;
    throw error;
  }
  return "accepted";
};
const smallSize = 600;

describe("proofs in logs of up to 600 entries", () => {
  const { leafHashes, roots, source } = countingSource(smallSize);
  const naive = naiveTree(leafHashes);
  const sizes = Array.from({ length: smallSize }, (_, index) => index + 1);
  /** All pairs with the small sizes, and what lies around powers of two with the others. */
  const partnersOf = (size: number) =>
    sizes.filter((other) => other <= size && (size <= 40 || other % 193 === size % 193 || size - other < 2 || [1, 255, 256, 257, 512].includes(other)));

  test("are those of the RFC's recursion, and lead to the root", async () => {
    for (const size of sizes) {
      for (const partner of partnersOf(size)) {
        const inclusion = await inclusionProof(partner - 1, size, source);
        if (!equalAll(inclusion, naive.path(partner - 1, 0, size))) expect.fail(`inclusion of ${partner - 1} in ${size}`);
        verifyInclusion({ index: partner - 1, size, leafHash: leafHashes[partner - 1]!, proof: inclusion, root: roots[size]! });

        const consistency = await consistencyProof(partner, size, source);
        if (!equalAll(consistency, naive.subproof(partner, 0, size, true))) expect.fail(`consistency of ${partner} and ${size}`);
        verifyConsistency({ oldSize: partner, oldRoot: roots[partner]!, size, root: roots[size]!, proof: consistency });
      }
    }
  });

  test("of inclusion hold for no other entry, size, root or proof", async () => {
    await fc.assert(fc.asyncProperty(
      fc.integer({ min: 1, max: smallSize }), fc.nat(), fc.nat(), fc.nat(),
      async (size, indexSeed, otherSeed, damageSeed) => {
        const index = indexSeed % size;
        const proof = await inclusionProof(index, size, source);
        const good = { index, size, leafHash: leafHashes[index]!, proof, root: roots[size]! };
        const other = otherSeed % smallSize;
        const broken = [
          other !== index && { ...good, leafHash: leafHashes[other]! },
          other !== size && { ...good, root: roots[other]! },
          other < size && other !== index && { ...good, index: other },
          { ...good, size: 2 * size },
          { ...good, proof: [...proof, hashLeaf("more")] },
          proof.length > 0 && { ...good, proof: proof.slice(0, -1) },
          proof.length > 0 && { ...good, proof: proof.slice(1) },
          proof.length > 0 && { ...good, proof: proof.with(damageSeed % proof.length, hashLeaf("damaged")) },
          proof.length > 0 && { ...good, proof: proof.with(damageSeed % proof.length, new Uint8Array(31)) },
        ];
        for (const damaged of broken) if (damaged) expect(codeOf(() => verifyInclusion(damaged))).toBe("proof_invalid");
      },
    ), { numRuns: 300 });
  });

  test("of inclusion cannot be passed off as one in a smaller log", async () => {
    const proof = await inclusionProof(1, 2, source);
    expect(codeOf(() => verifyInclusion({ index: 0, size: 1, leafHash: leafHashes[1]!, proof, root: roots[2]! }))).toBe("proof_invalid");
  });

  test("of consistency hold for no other sizes, roots or proof", async () => {
    await fc.assert(fc.asyncProperty(
      fc.integer({ min: 2, max: smallSize }), fc.nat(), fc.nat(), fc.nat(),
      async (size, oldSeed, otherSeed, damageSeed) => {
        const oldSize = 1 + (oldSeed % (size - 1));
        const proof = await consistencyProof(oldSize, size, source);
        const good = { oldSize, oldRoot: roots[oldSize]!, size, root: roots[size]!, proof };
        const other = 1 + (otherSeed % smallSize);
        const broken = [
          other !== oldSize && { ...good, oldRoot: roots[other]! },
          other !== size && { ...good, root: roots[other]! },
          other < size && other !== oldSize && { ...good, oldSize: other },
          { ...good, proof: [...proof, hashLeaf("more")] },
          { ...good, proof: proof.slice(0, -1) },
          { ...good, proof: proof.slice(1) },
          { ...good, proof: [] },
          { ...good, proof: proof.with(damageSeed % proof.length, hashLeaf("damaged")) },
        ];
        for (const damaged of broken) if (damaged) expect(codeOf(() => verifyConsistency(damaged))).toBe("proof_invalid");
      },
    ), { numRuns: 300 });
  });

  test("of consistency are empty from the empty log and between equal sizes, and then compare the roots", async () => {
    expect(await consistencyProof(0, 5, source)).toEqual([]);
    expect(await consistencyProof(5, 5, source)).toEqual([]);
    const same = { oldSize: 5, oldRoot: roots[5]!, size: 5, root: roots[5]!, proof: [] };
    verifyConsistency(same);
    verifyConsistency({ ...same, oldSize: 0, oldRoot: roots[0]! });
    expect(codeOf(() => verifyConsistency({ ...same, oldRoot: roots[4]! }))).toBe("proof_invalid");
    expect(codeOf(() => verifyConsistency({ ...same, oldSize: 0, oldRoot: roots[1]! }))).toBe("proof_invalid");
    expect(codeOf(() => verifyConsistency({ ...same, proof: [roots[1]!] }))).toBe("proof_invalid");
  });

  test("are refused for entries and sizes the log does not have", async () => {
    for (const [index, size] of [[5, 5], [-1, 5], [0, 0], [0.5, 5], [0, NaN], [0, 2 ** 53]] as const) {
      await expect(inclusionProof(index, size, source)).rejects.toMatchObject({ code: "proof_out_of_range" });
      expect(codeOf(() => verifyInclusion({ index, size, leafHash: roots[0]!, proof: [], root: roots[0]! }))).toBe("proof_out_of_range");
    }
    for (const [oldSize, size] of [[6, 5], [-1, 5], [0.5, 5], [0, 2 ** 53]] as const) {
      await expect(consistencyProof(oldSize, size, source)).rejects.toMatchObject({ code: "proof_out_of_range" });
      expect(codeOf(() => verifyConsistency({ oldSize, oldRoot: roots[0]!, size, root: roots[0]!, proof: [] }))).toBe("proof_out_of_range");
    }
    await expect(inclusionProof(0, smallSize + 1, source)).rejects.toMatchObject({ code: "proof_source_incomplete" });
  });
});

describe("proofs in a log of 200,000 entries", () => {
  const size = 200_000;
  let log: ReturnType<typeof countingSource>;
  beforeAll(() => { log = countingSource(size); });

  test("are those of the RFC's recursion at any size, and read at most 512 rows a level in few queries", async () => {
    const naive = naiveTree(log.leafHashes);
    await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: size }), fc.nat(), async (atSize, seed) => {
      const index = seed % atSize;
      log.counted.rows = log.counted.queries = 0;
      expect(hexAll(await inclusionProof(index, atSize, log.source))).toEqual(hexAll(naive.path(index, 0, atSize)));
      expect(log.counted.rows).toBeLessThanOrEqual(3 * 512);
      expect(log.counted.queries).toBeLessThanOrEqual(6);
      log.counted.rows = log.counted.queries = 0;
      expect(hexAll(await consistencyProof(index + 1, atSize, log.source))).toEqual(hexAll(naive.subproof(index + 1, 0, atSize, true)));
      expect(log.counted.rows).toBeLessThanOrEqual(3 * 512);
      expect(log.counted.queries).toBeLessThanOrEqual(6);
    }), { numRuns: 100 });
  });

  test("are refused, not made up, when the store has lost a subtree hash", async () => {
    const cut: ProofSource = { ...log.source, subtreeHashes: async (query) => (await log.source.subtreeHashes(query)).slice(0, -1) };
    await expect(inclusionProof(0, size, cut)).rejects.toMatchObject({ code: "proof_source_incomplete" });
  });
});
