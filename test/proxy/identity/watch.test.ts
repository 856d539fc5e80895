import { describe, expect, test } from "vitest";
import type { RevocationBatch } from "../../../ca/contract/revocations.ts";
import type { WatchListener } from "../../../proxy/ca-client.ts";
import { CaError } from "../../../proxy/ca-error.ts";
import { startWatch } from "../../../proxy/identity/watch.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { manualClock } from "../../support/manual-clock.ts";
import { recordedLog } from "../../support/recorded-log.ts";

/** A CA whose streams a test speaks and ends. */
function setUp({ random = () => 1 } = {}) {
  const clock = manualClock(0);
  const log = recordedLog();
  const metrics = createMetrics();
  const opened: { readonly lastEventId: string | undefined; readonly atMs: number }[] = [];
  const heard: unknown[] = [];
  const refused = { bundle: false, revocations: false };
  let stream: (WatchListener & { readonly end: (error?: Error) => void }) | undefined;
  const watch = startWatch({
    clock, log, metrics, random, lastEventId: "stored",
    client: {
      watch: (lastEventId, listener) => new Promise((resolve, reject) => {
        opened.push({ lastEventId, atMs: clock.now() });
        stream = { ...listener, end: (error) => (error === undefined ? resolve() : reject(error)) };
      }),
    },
    onEpoch: (epoch) => void heard.push(epoch),
    onTap: (notice) => void heard.push(notice),
    onBundle: (text) => void heard.push(text),
    onRevocations(batch) {
      if (refused.revocations) throw new Error("does not fit");
      heard.push(batch.sequence);
    },
    onRenew: (notice) => void heard.push(notice),
    onPolicy: (notice) => void heard.push(notice),
    onFederation: (text) => void heard.push(text),
    onAlive: () => void heard.push("alive"),
    onBroken: () => void heard.push("broken"),
  });
  function say(event: string, data: object | string, id?: string): void {
    const given = stream!;
    try {
      given.onEvent({ event, data: typeof data === "string" ? data : JSON.stringify(data), id });
      given.onAlive();
    } catch (error) {
      given.end(error as Error);
    }
  }
  const batch = (sequence: number, more = false): RevocationBatch => ({ revocations: [], sequence, more });
  return { clock, log, metrics, opened, heard, refused, watch, say, batch, end: (error?: Error) => stream!.end(error) };
}

describe("following the feed by its stream", () => {
  test("resumes where it was before a restart, hands on what comes, and is live once the list is whole", async () => {
    const { opened, heard, say, batch, watch } = setUp();
    const tap = { tap: "ab".repeat(16), target: "cd", seconds: 60, limit: 10, method: "GET" };
    expect(opened[0]?.lastEventId).toBe("stored");
    say("epoch", { feedEpoch: "e" });
    say("bundle", "{\"keys\":[]}", "1");
    say("revocation", batch(3, true), "2");
    expect(watch.status()).toEqual({ liveSinceMs: undefined, lastEventId: "2", lastError: undefined });
    say("revocation", batch(5), "3");
    say("renew", { authorityId: "ab", windowSeconds: 60 }, "4");
    say("policy", { sequence: 3 }, "5");
    say("tap", tap, "5");
    say("news", "of a later version", "6");
    expect(watch.status()).toEqual({ liveSinceMs: 0, lastEventId: "6", lastError: undefined });
    expect(heard).toEqual(["e", "{\"keys\":[]}", 3, 5, "alive", { authorityId: "ab", windowSeconds: 60 }, "alive", { sequence: 3 }, "alive", tap, "alive", "alive"]);
  });

  test("what had lived is opened again within a second and said to be broken; what had not, with back-off", async () => {
    const { clock, opened, heard, say, batch, end, watch, metrics } = setUp();
    say("revocation", batch(1), "1");
    await clock.advance(10_000);
    end();
    await clock.advance(1000);
    expect(heard).toEqual([1, "alive", "broken"]);
    expect(opened.map(({ lastEventId, atMs }) => [lastEventId, atMs])).toEqual([["stored", 0], ["1", 11_000]]);
    expect(watch.status()).toMatchObject({ liveSinceMs: undefined, lastError: "the CA ended the stream" });
    for (const delayMs of [1000, 2000, 4000]) {
      end(new CaError("ca_unreachable", "down"));
      await clock.advance(delayMs - 1);
      const before = opened.length;
      await clock.advance(1);
      expect(opened.length).toBe(before + 1);
    }
    expect(heard.filter((one) => one === "broken")).toHaveLength(1);
    expect(metrics.text()).toMatch(/feed_streams_total\{result="ended"\} 1[\s\S]*result="ca_unreachable"\} 3/);
  });

  test("one that lives only for a moment each time is not opened without end", async () => {
    const { clock, opened, say, batch, end } = setUp();
    for (let round = 0; round < 12; round++) {
      say("revocation", batch(1), "1");
      end();
      await clock.advance(60_000);
    }
    await clock.advance(600_000);
    expect(opened.length).toBeLessThan(25);
  });

  test("a CA that has no stream is asked rarely, one that has no place for us when it says", async () => {
    for (const [error, waitsMs] of [
      [new CaError("ca_refused", "not found", { problemCode: "not_found" }), 1000],
      [new CaError("ca_unavailable", "full", { problemCode: "watchers_full", retryAfterMs: 10_000 }), 11_000],
    ] as const) {
      const { clock, opened, end, log } = setUp();
      end(error);
      await clock.advance(waitsMs - 1);
      expect(opened).toHaveLength(1);
      await clock.advance(1);
      expect(opened).toHaveLength(2);
      expect(log.lines.filter(({ level }) => level === "warn")).toHaveLength(1);
    }
    const { clock, opened, end } = setUp();
    for (let round = 0; round < 10; round++) {
      end(new CaError("ca_refused", "not found"));
      await clock.advance(300_000);
    }
    expect(opened).toHaveLength(11);
  });

  test.each([
    ["revocations that do not fit", "revocation", '{"revocations":[],"sequence":9,"more":false}'],
    ["a list that is broken", "revocation", '{"revocations":[{"serialNumber":"zz"}],"sequence":9,"more":false}'],
    ["what is no JSON", "revocation", "{"],
    ["an epoch that is none", "epoch", "{}"],
  ])("%s end the stream, are told again, and nobody believes to be up to date meanwhile", async (_what, event, data) => {
    const { clock, opened, heard, refused, say, batch, watch } = setUp();
    say("revocation", batch(1), "1");
    refused.revocations = true;
    say(event, data, "2");
    await clock.advance(60_000);
    expect(heard.at(-1)).toBe("broken");
    expect(opened.at(-1)?.lastEventId).toBe("1");
    expect(watch.status().lastError).toMatch(/./);
  });

  test("stop ends it: what still comes is not taken", async () => {
    const { clock, heard, say, batch, end, watch, opened } = setUp();
    watch.stop();
    say("revocation", batch(1), "1");
    end();
    await clock.advance(600_000);
    expect([heard, opened.length]).toEqual([[], 1]);
  });
});
