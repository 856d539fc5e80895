import { describe, expect, test } from "vitest";
import type { Revocation, RevocationPage } from "../../../ca/contract/revocations.ts";
import { CaError } from "../../../proxy/ca-error.ts";
import { startRevocationPolling, type DenyList } from "../../../proxy/identity/revocations.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { manualClock, until } from "../../support/manual-clock.ts";
import { recordedLog } from "../../support/recorded-log.ts";
import { testNowMs } from "../../support/test-ca.ts";

const hourMs = 3_600_000;
const entry = (sequence: number, lifeMs = hourMs): Revocation => ({
  sequence, serialNumber: sequence.toString(16).padStart(32, "0"), reason: "keyCompromise", revokedAt: new Date(testNowMs).toISOString(),
  notAfter: new Date(testNowMs + lifeMs).toISOString(),
});

const rest = { feedEpoch: "e", renew: [] };

function setUp({ restored, maxEntries, feed = [], ...fault }: { maxEntries?: number; restored?: DenyList; feed?: Revocation[]; down?: boolean; endless?: boolean; downBeyond?: number } = {}) {
  const clock = manualClock(testNowMs);
  const log = recordedLog();
  const asked: number[] = [];
  const sets: (ReadonlySet<string> | undefined)[] = [];
  const kept: DenyList[] = [];
  const ca = { down: false, endless: false, downBeyond: Infinity, sequence: undefined as number | undefined, ...fault };
  const metrics = createMetrics();
  const polling = startRevocationPolling({
    clock, log, metrics, restored, ...(maxEntries !== undefined && { maxEntries }), random: () => 0.5, intervalMs: 2000, onRevoked: (serials) => void sets.push(serials),
    onComplete: (list) => void kept.push({ ...list, entries: new Map(list.entries) }),
    client: {
      async revocations(after): Promise<RevocationPage> {
        asked.push(after);
        if (ca.endless) return { ...rest, revocations: [], sequence: after, more: true };
        if (ca.down || after >= ca.downBeyond) throw new CaError("ca_unreachable", "down");
        const page = feed.filter(({ sequence }) => sequence > after).slice(0, 2);
        const sequence = page.at(-1)?.sequence ?? ca.sequence ?? feed.at(-1)?.sequence ?? 0;
        return { ...rest, revocations: page, sequence, more: feed.some((one) => one.sequence > sequence) };
      },
    },
  });
  const held = () => [...(sets.at(-1) ?? [])].map((serial) => Number.parseInt(serial, 16));
  return { clock, log, feed, asked, sets, kept, ca, polling, metrics, held };
}

describe("the deny-list feed", () => {
  test("is read from the start, page after page, then only what is new", async () => {
    const { clock, feed, asked, held, polling } = setUp();
    feed.push(...[1, 2, 3, 4, 5].map((sequence) => entry(sequence)));
    await clock.advance(2000);
    expect(held()).toEqual([1, 2, 3, 4, 5]);
    expect(asked).toEqual([0, 0, 2, 4]);
    feed.push(entry(9));
    await clock.advance(2000);
    expect(asked.slice(4)).toEqual([5]);
    expect(held()).toEqual([1, 2, 3, 4, 5, 9]);
    expect(polling.status()).toMatchObject({ held: 6, sequence: 9, lastError: undefined });
  });

  test("is not in force before it was read to its end; what was read before a failure is not asked for again", async () => {
    const { clock, asked, ca, sets, kept, held, log, polling } = setUp({ feed: [1, 2, 3, 4, 5].map((sequence) => entry(sequence)), downBeyond: 4 });
    await clock.advance(1000);
    expect(asked).toEqual([0, 2, 4]);
    expect([sets, kept]).toEqual([[], []]);
    expect(polling.status()).toMatchObject({ held: 4, lastSuccessMs: undefined, ageSeconds: undefined, lastError: "down" });
    expect(log.lines.at(-1)?.message).toContain("every peer is refused");
    ca.downBeyond = Infinity;
    await clock.advance(2000);
    expect(asked).toEqual([0, 2, 4, 4]);
    expect(held()).toEqual([1, 2, 3, 4, 5]);
  });

  test("pages read before a failure are in force at once, when the list was whole before", async () => {
    const { clock, feed, ca, held, polling } = setUp();
    await clock.advance(1000);
    feed.push(...[1, 2, 3].map((sequence) => entry(sequence)));
    ca.downBeyond = 2;
    await clock.advance(2000);
    expect(held()).toEqual([1, 2]);
    expect(polling.status().lastError).toBe("down");
  });

  test("of before a restart is in force before anybody is asked, however old, and is read on from where it was", async () => {
    const restored = { entries: new Map([[entry(7).serialNumber, testNowMs + hourMs]]), sequence: 7, completeAtMs: testNowMs - 600_000 };
    const { clock, feed, asked, ca, held, kept, polling } = setUp({ restored, down: true });
    expect(held()).toEqual([7]);
    await clock.advance(60_000);
    expect(held()).toEqual([7]);
    expect(polling.status()).toMatchObject({ held: 1, sequence: 7, lastSuccessMs: testNowMs - 600_000, ageSeconds: 660 });
    expect(kept).toEqual([]);
    ca.down = false;
    feed.push(entry(7), entry(8));
    await clock.advance(20_000);
    expect(asked.every((after) => after >= 7)).toBe(true);
    expect(held()).toEqual([7, 8]);
  });

  test("is kept for a restart at each change and once a minute for its age, never before it was whole", async () => {
    const { clock, feed, kept, ca } = setUp({ feed: [entry(1)], down: true });
    await clock.advance(30_000);
    expect(kept).toEqual([]);
    ca.down = false;
    await clock.advance(30_000);
    expect(kept.map(({ sequence }) => sequence)).toEqual([1]);
    feed.push(entry(2));
    await clock.advance(4000);
    expect(kept.map(({ entries, sequence }) => [entries.size, sequence])).toEqual([[1, 1], [2, 2]]);
    expect(kept.at(-1)?.completeAtMs).toBeGreaterThan(testNowMs + 60_000);
    await clock.advance(10 * 60_000);
    expect(kept.length).toBeGreaterThanOrEqual(11);
    expect(kept.length).toBeLessThanOrEqual(13);
  });

  test("nothing new swaps nothing", async () => {
    const { clock, sets } = setUp({ feed: [entry(1)] });
    await clock.advance(60_000);
    expect(sets).toHaveLength(1);
  });

  test("a CA that is down leaves the list in force, is asked more slowly, and is reported once", async () => {
    const { clock, feed, held, ca, log, asked, polling, metrics } = setUp();
    feed.push(entry(1));
    await clock.advance(2000);
    ca.down = true;
    const before = asked.length;
    await clock.advance(10 * 60_000);
    expect(held()).toEqual([1]);
    expect(asked.length - before).toBeLessThan(70);
    expect(log.lines.filter(({ level }) => level === "warn")).toHaveLength(1);
    expect(polling.status().lastError).toBe("down");
    expect(metrics.text()).toContain('revocation_polls_total{result="error"}');
    ca.down = false;
    feed.push(entry(2));
    await clock.advance(11_000);
    expect(held()).toEqual([1, 2]);
    expect(log.lines.at(-1)?.message).toContain("up to date again");
  });

  test("an entry is forgotten when its certificate has expired", async () => {
    const { clock, feed, held } = setUp();
    feed.push(entry(1, hourMs), entry(2, 10 * hourMs));
    await clock.advance(hourMs);
    expect(held()).toEqual([1, 2]);
    await clock.advance(125_000);
    expect(held()).toEqual([2]);
  });

  test("a feed that went back in time is read again from its start, and nothing is forgotten", async () => {
    const { clock, feed, held, ca } = setUp();
    feed.push(entry(1), entry(7));
    await clock.advance(2000);
    feed.splice(0, 2, entry(3));
    ca.sequence = 3;
    await clock.advance(2000);
    expect(held()).toEqual([1, 7, 3]);
  });

  test("a feed that went back to nothing, or that fails while it is read again, costs no entry either", async () => {
    const { clock, feed, held, ca, asked, kept, polling } = setUp({ feed: [entry(7), entry(9)] });
    await clock.advance(2000);
    feed.splice(0);
    ca.sequence = 0;
    await clock.advance(2000);
    expect(held()).toEqual([7, 9]);
    expect(polling.status()).toMatchObject({ held: 2, sequence: 0 });
    feed.push(...[1, 2, 3, 4].map((sequence) => entry(sequence)));
    ca.downBeyond = 2;
    await clock.advance(2000);
    expect(held()).toEqual([7, 9, 1, 2]);
    ca.downBeyond = Infinity;
    asked.splice(0);
    await clock.advance(2000);
    expect(asked[0]).toBe(2);
    expect(held()).toEqual([7, 9, 1, 2, 3, 4]);
    expect(kept.at(-1)).toMatchObject({ sequence: 4 });
    await clock.advance(hourMs - 20_000);
    expect(held()).toHaveLength(6);
    await clock.advance(150_000);
    expect(held()).toEqual([]);
  });

  test("a feed that went back while we were away is noticed by the sequence that was stored", async () => {
    const restored = { entries: new Map([[entry(7).serialNumber, testNowMs + hourMs]]), sequence: 7, completeAtMs: testNowMs };
    const { clock, held, asked, ca } = setUp({ restored, feed: [entry(3)] });
    ca.sequence = 3;
    await clock.advance(1000);
    expect(asked).toEqual([7, 0]);
    expect(held()).toEqual([7, 3]);
  });

  test("a feed without an end is not asked without end", async () => {
    const { held, asked, polling } = setUp({ endless: true, restored: { entries: new Map(), sequence: 7, completeAtMs: testNowMs } });
    await until("the end of the first poll", () => polling.status().lastError !== undefined);
    expect(asked).toHaveLength(1000);
    expect(polling.status().lastError).toContain("did not end");
    expect(held()).toEqual([]);
  });

  test("that does not fit lets nobody in, rather than a revoked peer: nothing is dropped, and it recovers when there is room", async () => {
    const { clock, feed, sets, held, log, polling, metrics, kept, ca } = setUp({ feed: [entry(1, hourMs), entry(2, hourMs), entry(3, 5 * hourMs)], maxEntries: 4 });
    await clock.advance(2000);
    expect(held()).toEqual([1, 2, 3]);
    feed.push(entry(4, 5 * hourMs), entry(5, 5 * hourMs));
    await clock.advance(10_000);
    expect(sets.at(-1)).toBeUndefined();
    expect(polling.status()).toMatchObject({ held: 3, sequence: 3, lastError: expect.stringContaining("more than the 4 revocations") as string });
    expect(log.lines.filter(({ level }) => level === "error")).toHaveLength(1);
    expect(metrics.text()).toMatch(/revocation_polls_total\{result="full"\} \d/);
    ca.down = true;
    const changes = sets.length;
    const stored = kept.length;
    await clock.advance(60_000);
    expect([sets.length, kept.length]).toEqual([changes, stored]);
    ca.down = false;
    await clock.advance(hourMs);
    expect(held()).toEqual([3, 4, 5]);
    expect(log.lines.at(-1)?.message).toBe("revocations in force");
  });

  test("stop ends it, also in the middle of a question", async () => {
    const { clock, asked, polling } = setUp();
    polling.stop();
    await clock.advance(60_000);
    expect(asked.length).toBeLessThanOrEqual(1);
    expect(clock.waiting()).toEqual([]);
  });
});

