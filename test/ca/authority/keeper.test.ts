import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import type { Store } from "../../../ca/store/store.ts";
import { StoreError } from "../../../ca/store/store.ts";
import { auditEvents, chainOf, dayMs, hourMs, newCsr, startTestCa, type TestCa } from "../../support/running-ca.ts";

let host: TestCa;
let onRotate: (() => Promise<void>) | undefined;
beforeEach(async () => {
  onRotate = undefined;
  host = await startTestCa({
    wrapStore: (store: Store) => ({
      ...store,
      commit: async (act) => {
        if (act.kind === "change-authorities" && act.add !== undefined) await onRotate?.();
        return store.commit(act);
      },
    }),
  });
});
afterEach(() => host.close());

const cart = { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/cart" } as const;
const issue = (target: TestCa = host) => target.ca.issue({ csr: newCsr().csr, attestation: cart }, { caller: target.admin });
const issuers = async () => (await host.store.authorities()).filter(({ type }) => type === "issuer");
const states = async () => (await issuers()).sort((a, b) => a.createdAtMs - b.createdAtMs).map(({ state }) => state);

describe("the issuer", () => {
  test("is replaced at its renewal time, and the old one retires when it has expired", async () => {
    host.clock.nowMs += 22.9 * hourMs;
    await host.ca.tick();
    expect(await states()).toEqual(["active"]);
    host.clock.nowMs += 0.2 * hourMs;
    await host.ca.tick();
    expect(await states()).toEqual(["retiring", "active"]);
    host.clock.nowMs += 25 * hourMs;
    await host.ca.tick();
    expect((await states())[0]).toBe("retired");
    const events = (await auditEvents(host.store)).filter(({ type }) => type === "authority.created" || type === "authority.state-changed");
    expect(events.map(({ to, authorityType }) => to ?? authorityType)).toEqual(["root", "issuer", "issuer", "retiring", "issuer", "retiring", "retired"]);
  });

  test("never signs a certificate that would outlive it: it is replaced first, and the lifetime is kept", async () => {
    host.clock.nowMs += 30 * hourMs;
    const issued = await issue();
    expect(await states()).toEqual(["retiring", "active"]);
    const [leaf, issuer] = chainOf(issued).map(parseCertificate);
    expect(leaf!.notAfterMs).toBeLessThanOrEqual(issuer!.notAfterMs);
    expect(leaf!.notAfterMs).toBe(Math.floor(host.clock.nowMs / 1000) * 1000 + dayMs - 1000);
  });

  test("is replaced once when many requests need it at once", async () => {
    host.clock.nowMs += 30 * hourMs;
    await Promise.all(Array.from({ length: 20 }, () => issue()));
    expect(await issuers()).toHaveLength(2);
  });

  test("is taken over from another replica that was faster; exactly one is active", async () => {
    const other = await startTestCa({ dataDir: host.dataDir, nowMs: host.clock.nowMs });
    try {
      host.clock.nowMs += 24 * hourMs;
      other.clock.nowMs = host.clock.nowMs;
      onRotate = async () => {
        onRotate = undefined;
        await other.ca.tick();
      };
      await host.ca.tick();
      expect((await states()).filter((state) => state === "active")).toHaveLength(1);
      expect(chainOf(await issue())[1]).toEqual(chainOf(await issue(other))[1]);
      expect(host.logged).toContain("another replica replaced the issuer first; taking its issuer");
    } finally {
      await other.close();
    }
  });

  test("that another replica replaced is noticed at the next look, and the listeners hear of it", async () => {
    const other = await startTestCa({ dataDir: host.dataDir, nowMs: host.clock.nowMs + 24 * hourMs });
    try {
      const before = host.ca.apiCredentials().chain;
      host.clock.nowMs = other.clock.nowMs;
      await host.ca.tick();
      expect(host.ca.apiCredentials().chain).not.toBe(before);
      expect(chainOf(await issue())[1]).toEqual(chainOf(await issue(other))[1]);
    } finally {
      await other.close();
    }
  });

  test("that cannot be replaced goes on signing while it lasts, then requests are refused and readiness says why", async () => {
    onRotate = () => Promise.reject(new StoreError("store_unavailable", "no database"));
    host.clock.nowMs += 23.5 * hourMs;
    await host.ca.tick();
    expect((await issue()).spiffeId).toBe(cart.spiffeId);
    host.clock.nowMs += hourMs;
    await expect(issue()).rejects.toMatchObject({ code: "issuer_unavailable", retryAfterSeconds: 2 });
    expect(await host.ca.readiness()).toMatchObject({ ready: false });
    onRotate = undefined;
    await expect(issue()).rejects.toMatchObject({ code: "issuer_unavailable" });
    host.clock.nowMs += 2000;
    expect((await issue()).spiffeId).toBe(cart.spiffeId);
    expect(await host.ca.readiness()).toEqual({ ready: true, reasons: [] });
  });
});

test("a root that ends before the next issuer would stops the rotation, with the reason in the log", async () => {
  const short = await startTestCa({ settings: { rootLifetime: "3d" } });
  try {
    short.clock.nowMs += 1.5 * dayMs;
    await short.ca.tick();
    expect(short.logged.join()).toMatch(/root expires at .* replace the root/);
    await expect(issue(short)).rejects.toMatchObject({ code: "issuer_unavailable" });
  } finally {
    await short.close();
  }
});
