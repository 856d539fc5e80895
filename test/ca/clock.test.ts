import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { issuingClock, type ClockSources } from "../../ca/clock.ts";
import { auditEvents, chainOf, hourMs, newCsr, startTestCa, type TestCa } from "../support/running-ca.ts";

const startMs = Date.UTC(2026, 0, 1);

describe("the time to issue by", () => {
  const cases: readonly (readonly [what: string, doubt: RegExp | undefined, at: Partial<Record<"nowMs" | "awakeMs" | "bootMs" | "databaseMs" | "newestMs", number>>])[] = [
    ["nothing is wrong", undefined, {}],
    ["a day has passed", undefined, { nowMs: 24 * hourMs, awakeMs: 24 * hourMs, bootMs: 24 * hourMs }],
    ["the machine slept for an hour", undefined, { nowMs: 2 * hourMs, awakeMs: hourMs, bootMs: 2 * hourMs }],
    ["the clock jumped an hour forward", /3600 s ahead of the time/, { nowMs: hourMs }],
    ["the clock jumped an hour back", /3600 s behind/, { nowMs: -hourMs }],
    ["it is set right by a few seconds", undefined, { nowMs: 9_000 }],
    ["the database's clock is another", /3600 s behind the database's/, { databaseMs: hourMs }],
    ["it jumped, and the database says that it is right now", undefined, { nowMs: hourMs, databaseMs: hourMs }],
    ["something was issued an hour from now", /3600 s behind the newest/, { newestMs: hourMs }],
    ["something was issued an hour from now, and the database says that now is right", undefined, { newestMs: hourMs, databaseMs: 0 }],
    ["something was issued some seconds from now, by another replica", undefined, { newestMs: 9_000 }],
  ];
  test.each(cases)("when %s, doubt is %s", (_what, doubt, at) => {
    const time = { nowMs: 0, awakeMs: 0, bootMs: 0 };
    const sources: ClockSources = {
      now: () => new Date(startMs + time.nowMs), clockSkewMs: 1_000,
      newestMs: at.newestMs === undefined ? undefined : startMs + at.newestMs,
      databaseMs: () => at.databaseMs === undefined ? undefined : startMs + at.databaseMs,
      elapsedMs: { awakeMs: () => 5 + time.awakeMs, sinceBootMs: () => 1_000_000 + time.bootMs },
    };
    const clock = issuingClock(sources);
    Object.assign(time, at);
    if (doubt === undefined) {
      expect(clock.doubt()).toBeUndefined();
      expect(clock.now()).toEqual(sources.now());
    } else {
      expect(clock.doubt()).toMatch(doubt);
      expect(() => clock.now()).toThrow(expect.objectContaining({ code: "clock_uncertain" }));
    }
  });
});

test("where the database has a clock, nobody's word goes against it", () => {
  const clock = issuingClock({ now: () => new Date(startMs), clockSkewMs: 1_000, newestMs: undefined, databaseMs: () => startMs + hourMs, elapsedMs: undefined });
  expect(() => clock.witnessed(startMs)).toThrow(expect.objectContaining({ code: "clock_uncertain", message: expect.stringContaining("the database's clock") }));
});

test("who is behind the newest certificate goes on when an admin's clock says the same", () => {
  const clock = issuingClock({ now: () => new Date(startMs), clockSkewMs: 1_000, newestMs: startMs + hourMs, databaseMs: () => undefined, elapsedMs: undefined });
  expect(clock.doubt()).toMatch(/behind the newest/);
  clock.witnessed(startMs).trust();
  expect(clock.doubt()).toBeUndefined();
});

describe("a CA whose clock is set an hour forward and back", () => {
  let test_: TestCa;
  let elapsedMs: number;
  let standstillMs: number;
  const trueMs = () => startMs + elapsedMs + standstillMs;

  beforeEach(async () => {
    [elapsedMs, standstillMs] = [0, 0];
    const clock = { awakeMs: () => elapsedMs, sinceBootMs: () => elapsedMs };
    test_ = await startTestCa({ nowMs: startMs, deps: { elapsedMs: clock } });
  });
  afterEach(() => test_.close());

  async function issue(): Promise<string> {
    const issued = await test_.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/cart" } }, { caller: test_.admin })
      .catch(({ code }: { code: string }) => code);
    if (typeof issued === "string") return issued;
    for (const der of chainOf(issued)) {
      const { notBeforeMs, notAfterMs } = parseCertificate(der);
      expect(notBeforeMs).toBeLessThanOrEqual(trueMs());
      expect(notAfterMs).toBeGreaterThan(trueMs());
    }
    return "issued";
  }

  test.each([["forward", hourMs], ["back", -hourMs]])("%s: what it issues is valid for everybody, nothing is issued meanwhile, and it goes on by itself", async (_way, jumpMs) => {
    expect(await issue()).toBe("issued");
    test_.clock.nowMs += jumpMs;
    expect(await issue()).toBe("clock_uncertain");
    await test_.ca.tick();
    expect(await test_.ca.readiness()).toMatchObject({ ready: false, reasons: [expect.stringContaining("3600 s")] });
    elapsedMs += 60_000;
    test_.clock.nowMs += 60_000 - jumpMs;
    expect(await issue()).toBe("issued");
    expect(await test_.ca.readiness()).toMatchObject({ ready: true });
  });

  test("goes on by an admin's word when the jump was to the right time, which is in the audit log, and watches from there", async () => {
    // The machine was held while an hour passed.
    standstillMs = hourMs;
    test_.clock.nowMs += hourMs;
    const confirm = (offMs: number) => test_.ca.confirmClock({ time: new Date(test_.clock.nowMs + offMs).toISOString() }, test_.admin)
      .then(({ doubt }) => doubt, ({ code }: { code: string }) => code);
    elapsedMs += hourMs;
    test_.clock.nowMs += hourMs;
    // It runs as evenly as a right one.
    expect(await issue()).toBe("clock_uncertain");
    expect([await confirm(-21_000), await confirm(21_000), await issue()]).toEqual(["clock_uncertain", "clock_uncertain", "clock_uncertain"]);
    expect(await auditEvents(test_.store)).not.toContainEqual(expect.objectContaining({ type: "clock.confirmed" }));
    expect(await confirm(2_000)).toMatch(/3600 s ahead of .*countersign clock confirm/);
    expect(await issue()).toBe("issued");
    expect(await auditEvents(test_.store)).toContainEqual(expect.objectContaining({ type: "clock.confirmed", actor: test_.admin.actor, witnessed: new Date(test_.clock.nowMs + 2_000).toISOString() }));
    expect(await confirm(0)).toBeUndefined();
    test_.clock.nowMs -= hourMs;
    expect(await issue()).toBe("clock_uncertain");
  });

  test("far enough forward for the issuer to be due, it makes none that is not yet valid", async () => {
    test_.clock.nowMs += 30 * hourMs;
    await test_.ca.tick();
    expect(await issue()).toBe("clock_uncertain");
    test_.clock.nowMs -= 30 * hourMs;
    expect((await test_.ca.authorities()).filter(({ type }) => type === "issuer")).toHaveLength(1);
    expect(await issue()).toBe("issued");
  });

  test("it does not start behind what is in its store, unless the operator accepts that this was issued by a wrong clock, which is recorded", async () => {
    const start = (acceptClock?: number) => startTestCa({
      dataDir: test_.dataDir, nowMs: trueMs(), settings: acceptClock === undefined ? {} : { acceptClock: new Date(acceptClock).toISOString() },
    });
    // Long enough ahead for another issuer to be made, which nobody would take yet.
    test_.clock.nowMs += 30 * hourMs;
    elapsedMs += 30 * hourMs;
    await test_.ca.tick();
    expect(await issue()).toBe("issued");
    const newestMs = test_.clock.nowMs;
    elapsedMs = 0;
    await test_.ca.close();
    await expect(start()).rejects.toMatchObject({ code: "clock_uncertain", message: expect.stringContaining(`start once with --accept-clock ${new Date(newestMs).toISOString()}`) });
    await expect(start(newestMs - 1)).rejects.toMatchObject({ code: "clock_uncertain" });
    const started = await start(newestMs);
    const issued = await started.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/cart" } }, { caller: started.admin });
    expect(chainOf(issued).map((der) => parseCertificate(der).notBeforeMs).every((notBeforeMs) => notBeforeMs <= trueMs())).toBe(true);
    expect(await auditEvents(started.store)).toContainEqual(expect.objectContaining({ type: "clock.confirmed", actor: "system", doubt: expect.stringContaining("behind the newest") }));
    await started.close();
  });
});
