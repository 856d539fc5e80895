import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { leaseKeeper, leaseTtlMs, type LeaseKeeper } from "../../../ca/authority/lease.ts";
import { openStore } from "../../../ca/store/open.ts";
import { StoreError } from "../../../ca/store/errors.ts";
import type { LeaseAnswer, LeaseClaim } from "../../../ca/store/rows/leases.ts";
import type { Store } from "../../../ca/store/store.ts";
import { newSealer, record } from "../store/acts.ts";

describe("a replica's hold on a lease", () => {
  const directory = mkdtempSync(join(tmpdir(), "countersign-lease-"));
  let store: Store;
  let asked: LeaseClaim[];
  let fail: Error | undefined;
  let keepers: LeaseKeeper[];
  let nowMs: number;
  const log = { info() {}, warn() {}, error() {} };

  beforeEach(async () => {
    store = await openStore({ url: `sqlite:${join(directory, "ca.db")}`, sealer: newSealer().sealer });
    [asked, keepers, fail, nowMs] = [[], [], undefined, 0];
  });
  afterEach(async () => {
    for (const keeper of keepers) await keeper.close();
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  });

  function replica(ttlMs = leaseTtlMs): LeaseKeeper {
    const counted = {
      async acquireLease(claim: LeaseClaim): Promise<LeaseAnswer> {
        asked.push(claim);
        if (fail !== undefined) throw fail;
        return store.acquireLease(claim);
      },
      releaseLease: store.releaseLease,
    };
    const keeper = leaseKeeper({ store: counted, name: "work", log, ttlMs, monotonicMs: () => nowMs });
    keepers.push(keeper);
    return keeper;
  }

  test("one has it, and it is asked for once as long as it lasts", async () => {
    const [one, other] = [replica(), replica()];
    const fence = { lease: "work", token: 1 };
    expect(await Promise.all([one.hold(), one.hold()])).toEqual([fence, fence]);
    expect(asked).toHaveLength(1);
    expect(await other.hold()).toBeUndefined();
    nowMs = leaseTtlMs - 1;
    expect(await one.hold()).toEqual(fence);
    expect(asked).toHaveLength(2);
    nowMs = leaseTtlMs;
    expect(await one.hold()).toEqual(fence);
    expect(asked).toHaveLength(3);
  });

  test("given up at the end, it is another's at once, and what the first still has in hand is refused", async () => {
    const [one, other] = [replica(), replica()];
    const fence = (await one.hold())!;
    await one.close();
    expect(await one.hold()).toBeUndefined();
    expect(await other.hold()).toEqual({ lease: "work", token: 2 });
    await expect(store.commit({ ...record("late"), fence })).rejects.toMatchObject({ code: "lease_lost" });
  });

  test("it is renewed by itself, and again after the database was away", async () => {
    const keeper = replica(3);
    keeper.start();
    await asking(2);
    fail = new StoreError("store_unavailable", "away");
    await asking(4);
    fail = undefined;
    await asking(6);
    expect(await keeper.hold()).toMatchObject({ lease: "work" });
    await keeper.close();
    expect(new Set(asked.map(({ holder }) => holder)).size).toBe(1);
  });

  test("a database that is away is said to be, by whoever asks", async () => {
    fail = new StoreError("store_unavailable", "away");
    await expect(replica().hold()).rejects.toMatchObject({ code: "store_unavailable" });
  });

  async function asking(times: number): Promise<void> {
    const before = asked.length;
    while (asked.length < before + times) await new Promise((resolve) => setImmediate(resolve));
  }
});
