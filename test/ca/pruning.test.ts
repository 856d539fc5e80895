import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encodeEntry } from "../../ca/audit/event.ts";
import { verifyLog } from "../../ca/audit/verify.ts";
import { planPruning, pruner, type Pruner } from "../../ca/pruning.ts";
import type { Store } from "../../ca/store/store.ts";
import { createDatabase } from "../support/postgres.ts";
import { auditEvents, hourMs, newCsr, startTestCa, type TestCa } from "../support/running-ca.ts";

const dayMs = 24 * hourMs;
const log = { info() {}, warn() {}, error() {} };

describe.each(["sqlite", "postgres"] as const)("certificates that ended long ago, on %s", (kind) => {
  let running: TestCa;
  let store: Store;
  let pruning: Pruner;
  const startMs = Date.UTC(2026, 0, 1);

  beforeEach(async () => {
    running = await startTestCa({ nowMs: startMs, ...(kind === "postgres" && { settings: { store: await createDatabase() } }) });
    ({ store } = running);
    pruning = pruner({ store, log, now: () => new Date(running.clock.nowMs), retentionMs: 30 * dayMs });
  });
  afterEach(async () => {
    await pruning.close();
    await running.close();
  });

  function issue(name: string) {
    return running.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: `spiffe://east/${name}` } }, { caller: running.admin });
  }

  test("are forgotten, those that ended later are not, and the log still holds and verifies", async () => {
    const old = await Promise.all(["a", "b", "c"].map(issue));
    await running.ca.revoke(old[0]!.serialNumber, "keyCompromise", running.admin);
    const revocations = await store.revocationSequence();
    for (let count = 0; count < 5; count++) await issue("alone");
    const before = (await store.checkpoints({ after: 0, limit: 1000 })).length;
    running.clock.nowMs += 20 * dayMs;
    const younger = await issue("younger");
    running.clock.nowMs += 10 * dayMs;
    expect(await pruning.tick()).toBe(0);
    running.clock.nowMs += dayMs + 1;
    const newest = await issue("newest");
    expect(await pruning.tick()).toBeGreaterThanOrEqual(old.length);
    for (const { serialNumber } of old) expect(await store.certificate(serialNumber)).toBeUndefined();
    for (const { serialNumber } of [younger, newest]) expect(await store.certificate(serialNumber)).toBeDefined();
    expect((await store.checkpoints({ after: 0, limit: 1000 })).length).toBeLessThan(before);
    expect(await store.revocationSequence()).toBe(revocations);
    const events = await auditEvents(store);
    for (const { logIndex, serialNumber } of old) expect(events[logIndex]).toMatchObject({ type: "certificate.issued", serialNumber });
    expect(events.at(-1)).toMatchObject({ type: "certificates.pruned", actor: "system" });
    expect(await verifyLog({ store, verifierKey: running.ca.verifierKey })).toMatchObject({ ok: true });
    // A pass that finds nothing writes nothing.
    const { size } = (await store.checkpoint())!;
    expect(await pruning.tick()).toBe(0);
    expect((await store.checkpoint())!.size).toBe(size);
  });

  test("a row that is gone and was not pruned is missed, also when the log says what it must not", async () => {
    const { logIndex } = await issue("valid");
    const nowMs = running.clock.nowMs;
    // Somebody who has the log's key could write this; it covers no certificate that had not ended.
    const lie = encodeEntry({ type: "certificates.pruned", below: logIndex + 1, expiredBefore: new Date(nowMs + 2 * dayMs).toISOString() }, "system", nowMs);
    await store.commit({ kind: "prune", from: logIndex, to: logIndex + 1, expiredBeforeMs: nowMs + 2 * dayMs, nowMs, entries: [lie] });
    expect(await verifyLog({ store, verifierKey: running.ca.verifierKey })).toMatchObject({ ok: false, kind: "entry_without_row", message: expect.stringContaining(`Entry ${logIndex} `) });
  });

  test("stay for the next pass where the time of this one is over", async () => {
    await issue("a");
    running.clock.nowMs += 40 * dayMs;
    expect(await pruning.tick(performance.now())).toBe(0);
    expect(await pruning.tick(performance.now() + 60_000)).toBeGreaterThan(0);
  });

  test("are forgotten by one replica, and by none that lost its lease", async () => {
    await issue("a");
    running.clock.nowMs += 40 * dayMs;
    await store.acquireLease({ name: "prune", holder: "another", ttlMs: 15_000 });
    expect(await pruning.tick()).toBe(0);
    const nowMs = running.clock.nowMs;
    await expect(store.commit({
      kind: "prune", from: 0, to: 1000, expiredBeforeMs: nowMs, nowMs, fence: { lease: "prune", token: 7 },
      entries: [encodeEntry({ type: "certificates.pruned", below: 1000, expiredBefore: new Date(nowMs).toISOString() }, "system", nowMs)],
    })).rejects.toMatchObject({ code: "lease_lost" });
    await store.releaseLease({ name: "prune", holder: "another" });
    expect(await pruning.tick()).toBeGreaterThan(0);
  });
});

test("a pass goes page by page and ends where what follows was issued too late to have ended", () => {
  const row = (logIndex: number, issuedAtMs: number, notAfterMs: number) => ({ logIndex, issuedAtMs, notAfterMs });
  const full = Array.from({ length: 1000 }, (_, index) => row(index, 0, index < 10 ? 5 : 50));
  expect(planPruning([], 10)).toEqual({ rows: 0, to: 0, done: true });
  expect(planPruning(full, 10)).toEqual({ rows: 10, to: 1000, done: false });
  expect(planPruning([...full.slice(1), row(1000, 10, 50)], 10)).toEqual({ rows: 9, to: 1001, done: true });
  expect(planPruning([row(3, 0, 9), row(5, 0, 10)], 10)).toEqual({ rows: 1, to: 6, done: true });
});
