import { expect, test } from "vitest";
import { crlListName, parseCrlListName, shardCounts } from "../../ca/status-paths.ts";

test("the name of each list leads back to it", () => {
  expect(parseCrlListName(crlListName({ kind: "authorities" }))).toEqual({ kind: "authorities" });
  for (const shards of shardCounts) {
    for (let shard = 0; shard < shards; shard++) {
      expect(parseCrlListName(crlListName({ kind: "shard", shard, shards }))).toEqual({ kind: "shard", shard, shards });
    }
  }
});

test.each(["", "full", "1-0.crl", "8-8.crl", "3-1.crl", "512-1.crl", "8-01.crl", "08-1.crl", "8--1.crl", "8-1.crl/", "../full.crl", "2-0.CRL"])(
  "%j is the name of no list, so nothing is signed for it", (name) => {
    expect(parseCrlListName(name)).toBeUndefined();
  },
);
