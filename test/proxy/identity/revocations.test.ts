import { describe, expect, test } from "vitest";
import type { Revocation, RevocationPage } from "../../../ca/contract.ts";
import { CaError } from "../../../proxy/ca-error.ts";
import { startRevocationPolling, withoutExpired } from "../../../proxy/identity/revocations.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { manualClock } from "../../support/manual-clock.ts";
import { recordedLog } from "../../support/recorded-log.ts";
import { testNowMs } from "../../support/test-ca.ts";

const hourMs = 3_600_000;
const entry = (sequence: number, lifeMs = hourMs): Revocation => ({
  sequence, serialNumber: sequence.toString(16).padStart(32, "0"), reason: "keyCompromise", revokedAt: new Date(testNowMs).toISOString(),
  notAfter: new Date(testNowMs + lifeMs).toISOString(),
});

function setUp() {
  const clock = manualClock(testNowMs);
  const log = recordedLog();
  const feed: Revocation[] = [];
  const asked: number[] = [];
  const sets: ReadonlySet<string>[] = [];
  const ca = { down: false, sequence: undefined as number | undefined };
  const metrics = createMetrics();
  const polling = startRevocationPolling({
    clock, log, metrics, random: () => 0.5, intervalMs: 2000, onRevoked: (serials) => void sets.push(serials),
    client: {
      async revocations(after): Promise<RevocationPage> {
        asked.push(after);
        if (ca.down) throw new CaError("ca_unreachable", "down");
        const page = feed.filter(({ sequence }) => sequence > after).slice(0, 2);
        const sequence = page.at(-1)?.sequence ?? ca.sequence ?? feed.at(-1)?.sequence ?? 0;
        return { revocations: page, sequence, more: feed.some((one) => one.sequence > sequence) };
      },
    },
  });
  const held = () => [...(sets.at(-1) ?? [])].map((serial) => Number.parseInt(serial, 16));
  return { clock, log, feed, asked, sets, ca, polling, metrics, held };
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

  test("nothing new swaps nothing", async () => {
    const { clock, feed, sets } = setUp();
    feed.push(entry(1));
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

  test("stop ends it, also in the middle of a question", async () => {
    const { clock, asked, polling } = setUp();
    polling.stop();
    await clock.advance(60_000);
    expect(asked.length).toBeLessThanOrEqual(1);
    expect(clock.waiting()).toEqual([]);
  });
});

test("the list is bounded: what expires first goes first", () => {
  const entries = new Map([["a", 3 * hourMs], ["b", hourMs], ["c", 2 * hourMs], ["expired", -hourMs]]);
  expect(withoutExpired({ entries, sequence: 9 }, 0, 2)).toEqual({ kept: { entries: new Map([["a", 3 * hourMs], ["c", 2 * hourMs]]), sequence: 9 }, dropped: 1 });
  expect(withoutExpired({ entries, sequence: 9 }, 0).dropped).toBe(0);
});
