import { expect, test } from "vitest";
import { listHoldersBehind, type HolderCandidate, type HolderSource } from "../../../ca/store/holders.ts";

interface Row extends HolderCandidate {
  readonly renewedFrom?: string;
}

const nowMs = 1_000_000;

function row(logIndex: number, with_: Partial<Row> = {}): Row {
  return {
    logIndex, spiffeId: "spiffe://east/many", serialNumber: `s${logIndex}`, acknowledgedSequence: 0, notAfterMs: nowMs + logIndex,
    authorityId: "a", attestation: "svid", revoked: false, ...with_,
  };
}

/** Rows in memory, and how many of them were read for what they were renewed from. */
function sourceOf(rows: Row[], onPage: () => void = () => {}) {
  const reads = { spanRows: 0 };
  const source: HolderSource = {
    newestLogIndex: async () => Math.max(...rows.map(({ logIndex }) => logIndex)),
    async behind({ sequence, livesAfterMs, after, limit }) {
      const page = rows.filter(({ acknowledgedSequence, notAfterMs }) => acknowledgedSequence < sequence && notAfterMs > livesAfterMs)
        .sort((a, b) => b.notAfterMs - a.notAfterMs || b.logIndex - a.logIndex)
        .filter(({ notAfterMs, logIndex }) => after === undefined || notAfterMs < after.notAfterMs || (notAfterMs === after.notAfterMs && logIndex < after.logIndex))
        .slice(0, limit);
      onPage();
      return page;
    },
    async renewedFrom(spans) {
      const found = spans.flatMap(({ spiffeId, above, below }) => rows.filter((one) => one.spiffeId === spiffeId && one.logIndex > above && one.logIndex < below));
      reads.spanRows += found.length;
      return found.flatMap(({ spiffeId, renewedFrom }) => renewedFrom === undefined ? [] : [{ spiffeId, renewedFrom }]);
    },
  };
  return { source, reads };
}

test("the certificates of an ID are read once, however many of its replicas are behind", async () => {
  const { source, reads } = sourceOf(Array.from({ length: 5_000 }, (_, index) => row(index)));
  expect(await listHoldersBehind(source, { sequence: 5, nowMs, limit: 10_000 })).toHaveLength(5_000);
  expect(reads.spanRows).toBeLessThan(5_000);
});

test("who renews while the list is read is on it still, with the certificate of before", async () => {
  const rows = Array.from({ length: 600 }, (_, index) => row(index));
  let renewed = false;
  const { source } = sourceOf(rows, () => {
    // Its successor ends last of all, where the list has been already.
    if (!renewed) rows.push(row(600, { renewedFrom: "s3" }));
    renewed = true;
  });
  const found = await listHoldersBehind(source, { sequence: 5, nowMs, limit: 10_000 });
  expect(found.map(({ serialNumber }) => serialNumber)).toContain("s3");
});

test("a certificate is as good as gone once one that was issued later was renewed from it, in whichever order they end", async () => {
  const { source } = sourceOf([row(0, { notAfterMs: nowMs + 9 }), row(1, { notAfterMs: nowMs + 5, renewedFrom: "s0" }), row(2, { notAfterMs: nowMs - 9_000, renewedFrom: "s1" })]);
  expect(await listHoldersBehind(source, { sequence: 5, nowMs, limit: 10 })).toEqual([]);
});
