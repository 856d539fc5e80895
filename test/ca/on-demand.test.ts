import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseCrl } from "../../ca/pki/crl.ts";
import { onDemand, type OnDemandDeps } from "../../ca/on-demand.ts";
import { auditEvents, dayMs, hourMs, newCsr, startTestCa, type TestCa } from "../support/running-ca.ts";

describe("a CA that runs on demand", () => {
  let running: TestCa;
  beforeEach(async () => void (running = await startTestCa({ deps: { onDemand: true } })));
  afterEach(() => running.close());

  const issuers = async (): Promise<number> =>
    (await auditEvents(running.store)).filter(({ type, authorityType }) => type === "authority.created" && authorityType === "issuer").length;
  const issue = () => running.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/web" } }, { caller: running.admin });

  test("replaces an issuer that is due when its schedule comes, and once however often that is", async () => {
    expect(await issuers()).toBe(1);
    running.clock.nowMs += 24 * hourMs;
    const untilMs = performance.now() + 10_000;
    await Promise.all([running.ca.onDemand.maintain(untilMs), running.ca.onDemand.maintain(untilMs)]);
    await running.ca.onDemand.maintain(untilMs);
    expect(await issuers()).toBe(2);
  });

  test("without a schedule, the first request in ten minutes does what is due, and is over when that is", async () => {
    running.clock.nowMs += 24 * hourMs;
    await running.ca.onDemand.attend();
    await running.ca.onDemand.settle();
    expect(await issuers()).toBe(2);
    running.clock.nowMs += 24 * hourMs;
    // The lease says that it was done.
    await running.ca.onDemand.attend();
    await running.ca.onDemand.settle();
    expect(await issuers()).toBe(2);
  });

  test("with a schedule, no request does what is due", async () => {
    await running.ca.onDemand.maintain(performance.now() + 10_000);
    running.clock.nowMs += 24 * hourMs;
    await running.ca.onDemand.attend();
    await running.ca.onDemand.settle();
    expect(await issuers()).toBe(1);
  });

  test("signs by an issuer that lasts even where nothing looked after it for days", async () => {
    running.clock.nowMs += 3 * dayMs;
    expect((await issue()).serialNumber).toMatch(/^[0-9a-f]+$/);
    expect(await issuers()).toBe(2);
  });

  test("forgets certificates that ended long ago, within the time it is given", async () => {
    await issue();
    running.clock.nowMs += 40 * dayMs;
    expect(await running.ca.onDemand.maintain(performance.now())).toEqual({ pruned: 0 });
    const { pruned } = await running.ca.onDemand.maintain(performance.now() + 60_000);
    expect(pruned).toBeGreaterThan(0);
  });

  describe("signs CRLs", () => {
    const list = "full.crl";
    const issuerId = async (): Promise<string> => (await running.store.authorities()).find(({ type, state }) => type === "issuer" && state === "active")!.id;
    /** As anybody would find it in the store: nobody asks the CA for it. */
    const stored = async (id: string) => {
      const { number, nextUpdateMs } = (await running.store.crl(id, list))!;
      return { number: BigInt(number), nextUpdateMs };
    };
    const asked = async (id: string) => parseCrl((await running.ca.crl(id, list))!.der);
    const schedule = () => running.ca.onDemand.maintain(performance.now() + 10_000);
    const request = async (): Promise<void> => {
      await running.ca.onDemand.attend();
      await running.ca.onDemand.settle();
    };

    test.each([["its schedule comes", schedule], ["a request comes and there is no schedule", request]] as const)("anew at half of their time when %s, so that none lapses unasked", async (_, happens) => {
      const id = await issuerId();
      const first = await asked(id);
      running.clock.nowMs += 13 * hourMs;
      expect((await stored(id)).number).toBe(first.number);
      await happens();
      const next = await stored(id);
      expect([next.number > first.number, next.nextUpdateMs > first.nextUpdateMs]).toEqual([true, true]);
    });

    test("with what was revoked since, when its schedule comes, and not again while nothing changed", async () => {
      const id = await issuerId();
      const { serialNumber } = await issue();
      await asked(id);
      await running.ca.revoke(serialNumber, "keyCompromise", running.admin);
      running.clock.nowMs += 2000;
      await schedule();
      const { entries, number } = await asked(id);
      expect([...entries.values()].map((entry) => entry.serialNumber)).toEqual([serialNumber]);
      running.clock.nowMs += 2000;
      await schedule();
      expect((await stored(id)).number).toBe(number);
    });

    test("when one is asked for whose time was over while the process stood still", async () => {
      const id = await issuerId();
      const before = await asked(id);
      running.clock.nowMs = before.nextUpdateMs + 1000;
      const after = await asked(id);
      expect([after.number > before.number, after.nextUpdateMs > running.clock.nowMs]).toEqual([true, true]);
    });
  });

  test("looks at all that has no timer with each schedule: other trust domains, the CA above, what is published", async () => {
    const done: string[] = [];
    const look = (name: string) => ({ tick: async () => void done.push(name), look: async () => void done.push(name) });
    const { maintain } = onDemand({
      store: { ping: async () => undefined, acquireLease: async () => ({ held: true }) }, keeper: look("authorities"), crls: look("CRLs"), federation: look("federation"),
      upstream: look("upstream"), publisher: look("publisher"), ceremonies: look("ceremonies"), pruning: { tick: async () => done.push("pruning") },
      denials: { flush: async () => undefined }, checkKeys: async () => void done.push("keys"), log: { warn: () => undefined },
    } as unknown as OnDemandDeps);
    await maintain(performance.now() + 10_000);
    expect(done.sort()).toEqual(["CRLs", "authorities", "ceremonies", "federation", "keys", "pruning", "publisher", "upstream"]);
  });

  test("keeps no stream and has no certificate for a listener", async () => {
    await expect(running.ca.watch(undefined, { proven: true, name: "x" })).rejects.toMatchObject({ code: "watchers_full" });
    await expect(running.ca.tap({ spiffeId: "spiffe://east/web" } as never, running.admin)).rejects.toMatchObject({ code: "watchers_full" });
    expect(() => running.ca.apiCredentials()).toThrow(/no TLS listener/);
  });
});
