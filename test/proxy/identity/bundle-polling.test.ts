import { describe, expect, test } from "vitest";
import { CaError } from "../../../proxy/ca-error.ts";
import { startBundlePolling } from "../../../proxy/identity/bundle-polling.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { manualClock } from "../../support/manual-clock.ts";
import { recordedLog } from "../../support/recorded-log.ts";

function setUp({ hintSeconds }: { hintSeconds?: number } = {}) {
  const clock = manualClock(0);
  const asked: { readonly etag: string | undefined; readonly atMs: number }[] = [];
  const taken: string[] = [];
  const ca = { etag: '"1"', text: "one", failing: false, refusing: false };
  const log = recordedLog();
  const polling = startBundlePolling({
    subject: "the trust bundle", refreshes: createMetrics().counter("bundle_refreshes_total", "Looks.", ["result"]),
    clock, log, random: () => 0.5, refreshHintSeconds: () => hintSeconds, refreshFiles: () => undefined,
    onBundle(text) {
      if (ca.refusing) throw new Error("older than what is held");
      taken.push(text);
    },
    client: {
      async bundle(etag) {
        asked.push({ etag, atMs: clock.now() });
        if (ca.failing) throw new CaError("ca_unreachable", "down");
        return etag === ca.etag ? undefined : { text: ca.text, etag: ca.etag, feedEpoch: undefined };
      },
    },
  });
  return { clock, asked, taken, ca, log, polling };
}

describe("looking for a new bundle", () => {
  test("happens at the refresh hint, within bounds, and every five minutes without one", async () => {
    for (const [hintSeconds, seconds] of [[undefined, 300], [60, 60], [0, 5], [1e9, 3600]] as const) {
      const { clock, asked } = setUp(hintSeconds === undefined ? {} : { hintSeconds });
      await clock.advance(seconds * 1000 - 1);
      expect(asked).toEqual([]);
      await clock.advance(1);
      expect(asked).toHaveLength(1);
    }
  });

  test("takes one only when it is new", async () => {
    const { clock, asked, taken, ca } = setUp();
    await clock.advance(900_000);
    Object.assign(ca, { etag: '"2"', text: "two" });
    await clock.advance(300_000);
    expect(taken).toEqual(["one", "two"]);
    expect(asked.map(({ etag }) => etag)).toEqual([undefined, '"1"', '"1"', '"1"']);
  });

  test("goes on after a failure, which is reported; one that was refused is offered again", async () => {
    const { clock, taken, ca, log, polling } = setUp();
    ca.failing = true;
    await clock.advance(300_000);
    expect(polling.status()).toEqual({ lastSuccessMs: undefined, lastError: "down" });
    Object.assign(ca, { failing: false, refusing: true });
    await clock.advance(300_000);
    expect(polling.status().lastError).toContain("older");
    ca.refusing = false;
    await clock.advance(300_000);
    expect(taken).toEqual(["one"]);
    expect(polling.status()).toEqual({ lastSuccessMs: 900_000, lastError: undefined });
    expect(log.lines.filter(({ level }) => level === "warn")).toHaveLength(2);
  });

  test("ends when it is told to", async () => {
    const { clock, asked, polling } = setUp();
    polling.stop();
    await clock.advance(3_600_000);
    expect(asked).toEqual([]);
  });
});
