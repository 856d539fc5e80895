import { describe, expect, test } from "vitest";
import { denialRecorder } from "../../../ca/audit/denials.ts";
import type { Act } from "../../../ca/store/acts.ts";

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const denial = { type: "request.denied", code: "unauthenticated", method: "GET", path: "/v1/tokens" } as const;

function recorder(commit: (act: Act) => Promise<{ logIndex: number }> = () => Promise.resolve({ logIndex: 0 }), options: { readonly onDemand?: boolean } = {}) {
  const entries: { type: string; count?: number }[] = [];
  const clock = { nowMs: 1_000_000 };
  const log: string[] = [];
  const denials = denialRecorder({
    ...options,
    store: {
      commit: (act) => {
        entries.push(...act.entries.map((entry) => JSON.parse(entry) as { type: string }));
        return commit(act);
      },
    },
    log: { ...silent, warn: (_fields, message) => void log.push(message) }, now: () => new Date(clock.nowMs),
  });
  return { denials, entries, clock, log };
}

test("of a process without timers are counted into the log by whoever comes a minute later", async () => {
  const { denials, entries, clock } = recorder(undefined, { onDemand: true });
  for (let count = 0; count < 5000; count++) denials.record(denial, "anonymous");
  clock.nowMs += 59_999;
  denials.flushDue();
  expect(entries).toHaveLength(100);
  clock.nowMs += 1;
  denials.flushDue();
  denials.flushDue();
  expect(entries.slice(100)).toMatchObject([{ type: "denials.suppressed", count: 4900 }]);
  await denials.close();
  expect(entries).toHaveLength(101);
});

describe("denials", () => {
  test("are written one by one while they are few", async () => {
    const { denials, entries } = recorder();
    for (let count = 0; count < 5; count++) denials.record(denial, "anonymous");
    await denials.close();
    expect(entries).toHaveLength(5);
    expect(entries[0]).toMatchObject({ ...denial, actor: "anonymous" });
  });

  test("above the rate become one entry with their number", async () => {
    const { denials, entries } = recorder();
    for (let count = 0; count < 5000; count++) denials.record(denial, "anonymous");
    await denials.close();
    expect(entries).toHaveLength(101);
    expect(entries.at(-1)).toMatchObject({ type: "denials.suppressed", count: 4900, actor: "anonymous" });
  });

  test("of somebody known are not drowned in those of strangers, nor the other way round", async () => {
    for (const [loud, quiet] of [["anonymous", "token:0011223344556677"], ["spiffe://east/a", "anonymous"]] as const) {
      const { denials, entries } = recorder();
      for (let count = 0; count < 5000; count++) denials.record(denial, loud);
      denials.record({ ...denial, code: "forbidden" }, quiet);
      expect(entries.at(-1)).toMatchObject({ code: "forbidden", actor: quiet });
      await denials.close();
      expect(entries.at(-1)).toMatchObject({ type: "denials.suppressed", count: 4900, actor: loud });
      expect(entries).toHaveLength(102);
    }
  });

  test("of one insider do not hide those of another", () => {
    const { denials, entries } = recorder();
    for (let count = 0; count < 5000; count++) denials.record(denial, "token:aaaaaaaaaaaaaaaa");
    denials.record({ ...denial, code: "forbidden" }, "token:bbbbbbbbbbbbbbbb");
    expect(entries.at(-1)).toMatchObject({ code: "forbidden", actor: "token:bbbbbbbbbbbbbbbb" });
  });

  test("of more insiders than can be told apart are bounded all the same, and none goes uncounted", async () => {
    const { denials, entries } = recorder();
    for (let actor = 0; actor < 3000; actor++) denials.record(denial, `join-token:${actor}`);
    expect(entries).toHaveLength(1000);
    await denials.close();
    expect(entries).toHaveLength(1000 + 1001);
    expect(entries.slice(1000).reduce((sum, { count = 0 }) => sum + count, 0)).toBe(2000);
    expect(entries.at(-1)).toMatchObject({ actor: "system", count: 1000 });
  });

  test("are written one by one again when it has been quiet", () => {
    const { denials, entries, clock } = recorder();
    for (let count = 0; count < 200; count++) denials.record(denial, "anonymous");
    clock.nowMs += 1000;
    for (let count = 0; count < 200; count++) denials.record(denial, "anonymous");
    expect(entries).toHaveLength(110);
  });

  test("that cannot be written are reported and disturb nobody", async () => {
    const { denials, log } = recorder(() => Promise.reject(new Error("no database")));
    denials.record(denial, "anonymous");
    await denials.close();
    expect(log).toEqual(["a denial could not be written to the audit log"]);
  });
});
