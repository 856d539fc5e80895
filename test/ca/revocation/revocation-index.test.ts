import { describe, expect, test } from "vitest";
import { encodeRevokedCertificate } from "../../../ca/pki/crl-encoding.ts";
import { revocationIndex } from "../../../ca/revocation/revocation-index.ts";
import type { RevocationRow } from "../../../ca/store/rows/revocations.ts";

const nowMs = Date.UTC(2026, 0, 1);
const all = { sequence: Number.MAX_SAFE_INTEGER, droppedSequence: 0, droppedBeforeMs: 0 };

function indexOf(rows: RevocationRow[]) {
  return revocationIndex({
    store: {
      revocations: async ({ after, limit }) => rows.filter(({ sequence }) => sequence > after).slice(0, limit),
      revocationSequence: async () => rows.at(-1)?.sequence ?? 0,
    },
    isLive: (id) => id !== "ended",
    now: () => new Date(nowMs),
  });
}

function row(sequence: number, with_: Partial<RevocationRow> = {}): RevocationRow {
  const serialNumber = `7f${sequence.toString(16).padStart(30, "0")}`;
  return { sequence, serialNumber, reason: "superseded", revokedAtMs: nowMs - 5000, notAfterMs: nowMs + 5000, authorityId: "a", ...with_ };
}

const listed = (index: ReturnType<typeof indexOf>, list = { issuerId: "a", shard: 0, shards: 1 }, choice = all) => {
  const { entries, count } = index.select(list, choice);
  return { count, bytes: Buffer.concat(entries).toString("hex") };
};
const encoded = (rows: readonly RevocationRow[]) =>
  Buffer.concat(rows.map(({ serialNumber, revokedAtMs, reason }) => encodeRevokedCertificate(serialNumber, revokedAtMs, reason))).toString("hex");

describe("the entries of a list", () => {
  test("are those of its issuer, in order, over many pages and buffers", async () => {
    const rows = Array.from({ length: 1000 }, (_, at) => row(at + 1, { authorityId: at % 3 ? "a" : "b" }));
    const index = indexOf(rows);
    expect(await index.refresh()).toBe(1000);
    const mine = rows.filter(({ authorityId }) => authorityId === "a");
    expect(listed(index)).toEqual({ count: mine.length, bytes: encoded(mine) });
    expect(index.select({ issuerId: "a", shard: 0, shards: 1 }, all).entries).toHaveLength(1);
  });

  test("of a shard are those whose serial number falls into it", async () => {
    const rows = Array.from({ length: 64 }, (_, at) => row(at + 1));
    const index = indexOf(rows);
    await index.refresh();
    for (let shard = 0; shard < 8; shard++) {
      const mine = rows.filter(({ serialNumber }) => BigInt(`0x${serialNumber}`) % 8n === BigInt(shard));
      expect(listed(index, { issuerId: "a", shard, shards: 8 })).toEqual({ count: 8, bytes: encoded(mine) });
    }
  });

  test("stop at a sequence, and leave out what a CRL had after its end", async () => {
    const rows = [row(1, { notAfterMs: nowMs - 2000 }), row(2), row(3, { notAfterMs: nowMs - 2000 }), row(4), row(5)];
    const index = indexOf(rows);
    await index.refresh();
    expect(listed(index, undefined, { sequence: 4, droppedSequence: 2, droppedBeforeMs: nowMs - 1000 })).toEqual({ count: 3, bytes: encoded([rows[1]!, rows[2]!, rows[3]!]) });
  });

  test("are not from the future, nor of issuers that have ended", async () => {
    const index = indexOf([row(1, { revokedAtMs: nowMs + 9000 }), row(2, { authorityId: "ended" })]);
    await index.refresh();
    expect(listed(index)).toEqual({ count: 1, bytes: encoded([row(1, { revokedAtMs: nowMs })]) });
    expect(listed(index, { issuerId: "ended", shard: 0, shards: 1 }).count).toBe(0);
  });

  test("come in once, however many ask at once", async () => {
    const rows = [row(1)];
    const index = indexOf(rows);
    await Promise.all([index.refresh(), index.refresh()]);
    rows.push(row(2), row(3));
    expect(await Promise.all([index.refresh(), index.refresh(), index.refresh()])).toEqual([3, 3, 3]);
    expect(listed(index)).toEqual({ count: 3, bytes: encoded(rows) });
  });

  test("begin anew when the store was put back to an earlier state", async () => {
    const rows = [row(1), row(2), row(3)];
    const index = indexOf(rows);
    await index.refresh();
    rows.splice(1);
    await index.refresh();
    expect(listed(index)).toEqual({ count: 1, bytes: encoded([row(1)]) });
  });
});

test("a newer revocation is known for its own list alone", async () => {
  const index = indexOf([row(4), row(7)]);
  await index.refresh();
  const list = (shard: number) => ({ issuerId: "a", shard, shards: 4 });
  expect([index.hasNewer(list(3), 4), index.hasNewer(list(3), 7), index.hasNewer(list(0), 4), index.hasNewer(list(0), 3)]).toEqual([true, false, false, true]);
  index.keepOnly(new Set());
  expect(index.hasNewer(list(3), 0)).toBe(false);
});
