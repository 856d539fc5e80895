import { describe, expect, test } from "vitest";
import { checkpointSigner } from "../../../ca/audit/checkpoint.ts";
import { appendLeaf, emptyRange, hashLeaf, rootOf, type CompactRange } from "../../../ca/audit/merkle.ts";
import { emptyHead, encodeHead, readHead, type HeadRow, type SealedHead } from "../../../ca/store/head.ts";
import type { CheckpointRow } from "../../../ca/store/rows/log.ts";
import { newSealer } from "./acts.ts";

const signer = checkpointSigner(newSealer().sealer);

describe("reading the head", () => {
  test("a head that its newest checkpoint is over is read back", () => {
    for (let size = 0; size < 70; size++) {
      const { range, head, checkpoint } = sealed(size);
      expect(readHead(head, size === 0 ? undefined : checkpoint)).toEqual(range);
    }
    expect(readHead(emptyHead, undefined)).toEqual(emptyRange);
  });

  const { head, checkpoint } = sealed(5);
  const other = sealed(5, "other");
  const faults: readonly Fault[] = [
    ["entries without a checkpoint", head, undefined],
    ["a checkpoint without entries", emptyHead, checkpoint],
    ["a checkpoint over fewer entries", head, sealed(4).checkpoint],
    ["a checkpoint over more entries", head, sealed(6).checkpoint],
    ["a checkpoint over another tree", head, other.checkpoint],
    ["a checkpoint kept for another size", head, { size: 5, note: sealed(4).checkpoint.note }],
    ["a size that has as many hashes", { ...head, size: 6 }, checkpoint],
    ["a checkpoint that is no note", head, { size: 5, note: "5" }],
    ["too few hashes", { ...head, hashes: head.hashes.subarray(32) }, checkpoint],
    ["half a hash", { ...head, hashes: head.hashes.subarray(16) }, checkpoint],
    ["a negative size", { ...head, size: -1 }, checkpoint],
    ["an older state than this process sealed", head, checkpoint, sealed(6)],
    ["another state of the size this process sealed", other.head, other.checkpoint, sealed(5)],
  ];
  test.each(faults)("%s is refused", (...[, row, newest, last]: Fault) => {
    expect(() => readHead(row, newest, last)).toThrow(expect.objectContaining({ code: "log_inconsistent" }));
  });

  test("what this process sealed last, and what another has added since, is read", () => {
    const last = sealed(5);
    expect(readHead(encodeHead(last.range), { ...last.checkpoint }, last)).toBe(last.range);
    expect(readHead(sealed(7).head, sealed(7).checkpoint, last)).toEqual(sealed(7).range);
  });
});

type Fault = [fault: string, head: HeadRow, newest: CheckpointRow | undefined, last?: SealedHead];

function sealed(size: number, body = "entry"): SealedHead {
  let range: CompactRange = emptyRange;
  for (let index = 0; index < size; index++) range = appendLeaf(range, hashLeaf(`${body} ${index}`));
  return { range, head: encodeHead(range), checkpoint: { size, note: signer.sign(size, rootOf(range)) } };
}
