import { describe, expect, test } from "vitest";
import type { Outcome } from "../../../ca/store/outcome.ts";
import { groupCommit } from "../../../ca/store/group-commit.ts";
import type { Act } from "../../../ca/store/acts.ts";
import { StoreError } from "../../../ca/store/errors.ts";
import { record } from "./acts.ts";

describe("group commit", () => {
  test("acts that come in one turn of the event loop share the first commit, later ones the next", async () => {
    const { group, groups, finish } = recordedGroups();
    const first = ["a", "b"].map((code) => group.commit(record(code)));
    await turn();
    await turn();
    const second = ["c", "d", "e"].map((code) => group.commit(record(code)));
    await finish();
    await Promise.all(first);
    await finish();
    await Promise.all(second);
    expect(groups.map((acts) => acts.length)).toEqual([2, 3]);
  });

  test("while each turn or second turn brings an act they share a commit, which begins when no more come", async () => {
    const { group, groups, finish } = recordedGroups();
    const acts: Promise<unknown>[] = [];
    for (const code of ["a", "b", "c"]) {
      acts.push(group.commit(record(code)));
      await turn();
    }
    expect(groups).toHaveLength(0);
    for (let turns = 0; turns < 3; turns++) await turn();
    expect(groups.map((group) => group.length)).toEqual([3]);
    await finish();
    await Promise.all(acts);
  });

  test("a group that is worth its commit waits for no more", async () => {
    const { group, groups, finish } = recordedGroups({ maxGroupActs: 10, maxWaitingActs: 10, worthwhileActs: 3 });
    const acts: Promise<unknown>[] = [];
    for (const code of ["a", "b", "c", "d"]) {
      acts.push(group.commit(record(code)));
      await turn();
    }
    expect(groups.map((group) => group.length)).toEqual([3]);
    await finish();
    await finish();
    await Promise.all(acts);
  });

  test("acts are committed in the order in which they came, at most so many at once, one group at a time", async () => {
    let running = 0;
    const seen: Act[] = [];
    const group = groupCommit(async (acts) => {
      expect(running += 1).toBe(1);
      expect(acts.length).toBeLessThanOrEqual(4);
      await turn();
      seen.push(...acts);
      running -= 1;
      return acts.map((_, index) => ({ logIndex: seen.length - acts.length + index }));
    }, { maxGroupActs: 4, maxWaitingActs: 100, worthwhileActs: 4 });
    const acts = Array.from({ length: 10 }, (_, index) => record(`${index}`));
    const receipts = await Promise.all(acts.map((act) => group.commit(act)));
    expect(receipts.map(({ logIndex }) => logIndex)).toEqual(acts.map((_, index) => index));
    expect(seen).toEqual(acts);
  });

  test("what comes while a group waits for its turn joins it, behind what is in it and up to the limit", async () => {
    const seen: number[] = [];
    const group = groupCommit(async (acts, gather) => {
      const before = acts.length;
      for (let turns = 0; turns < 3; turns++) await turn();
      const all = gather();
      expect(all.slice(0, before)).toEqual(acts);
      seen.push(all.length);
      return all.map((_, index) => ({ logIndex: index }));
    }, { maxGroupActs: 4, maxWaitingActs: 100, worthwhileActs: 4 });
    const first = group.commit(record("first"));
    await turn();
    await turn();
    const later = Array.from({ length: 5 }, (_, index) => group.commit(record(`${index}`)));
    expect((await Promise.all([first, ...later])).map(({ logIndex }) => logIndex)).toEqual([0, 1, 2, 3, 0, 1]);
    expect(seen).toEqual([4, 2]);
  });

  test("an act that finds the queue full is refused at once with store_busy, and there is room again later", async () => {
    const { group, finish } = recordedGroups({ maxGroupActs: 2, maxWaitingActs: 3, worthwhileActs: 2 });
    const waiting = [1, 2, 3].map(() => group.commit(record("waits")));
    await expect(group.commit(record("too many"))).rejects.toMatchObject({ code: "store_busy", outcomeKnown: true });
    await finish();
    await finish();
    await Promise.all(waiting);
    const later = group.commit(record("later"));
    await finish();
    await later;
  });

  test("each act gets its own outcome, refusals as StoreErrors that say whether they are certain", async () => {
    const group = groupCommit(async () => [
      { logIndex: 7 }, { code: "key_reused", message: "m" }, { code: "store_unavailable", message: "m", outcomeKnown: false },
    ] satisfies Outcome[]);
    const [landed, refused, unknown] = await Promise.allSettled(["a", "b", "c"].map((code) => group.commit(record(code))));
    expect(landed).toEqual({ status: "fulfilled", value: { logIndex: 7 } });
    expect(refused).toMatchObject({ status: "rejected", reason: { name: "StoreError", code: "key_reused", outcomeKnown: true } });
    expect(unknown).toMatchObject({ status: "rejected", reason: { code: "store_unavailable", outcomeKnown: false } });
  });

  test("a group that fails rejects its acts, and the next group is committed", async () => {
    let calls = 0;
    const group = groupCommit(async (acts) => {
      if ((calls += 1) === 1) throw new StoreError("store_unavailable", "down");
      return acts.map(() => ({ logIndex: 0 }));
    }, { maxGroupActs: 2, maxWaitingActs: 10, worthwhileActs: 2 });
    const results = await Promise.allSettled(["a", "b", "c"].map((code) => group.commit(record(code))));
    expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected", "fulfilled"]);
  });

  test("close waits for what waits and refuses what comes later", async () => {
    const { group, groups, finish } = recordedGroups({ maxGroupActs: 1, maxWaitingActs: 10, worthwhileActs: 1 });
    const inFlight = ["a", "b"].map((code) => group.commit(record(code)));
    const closed = group.close();
    await expect(group.commit(record("late"))).rejects.toMatchObject({ code: "store_unavailable" });
    await finish();
    await finish();
    await closed;
    await Promise.all(inFlight);
    expect(groups).toHaveLength(2);
    await group.close();
  });
});

/** One turn of the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A group commit whose commits end when the test says so. */
function recordedGroups(limits?: Parameters<typeof groupCommit>[1]) {
  const groups: (readonly Act[])[] = [];
  const ends: (() => void)[] = [];
  let started: (() => void) | undefined;
  const group = groupCommit((acts) => {
    groups.push(acts);
    started?.();
    return new Promise((resolve) => ends.push(() => resolve(acts.map(() => ({ logIndex: 0 })))));
  }, limits);
  return {
    group,
    groups,
    /** Ends the commit in flight, once there is one. */
    async finish() {
      if (ends.length === 0) await new Promise<void>((resolve) => (started = resolve));
      started = undefined;
      // `started` comes before the promise's own function has run.
      await Promise.resolve();
      ends.shift()!();
    },
  };
}
