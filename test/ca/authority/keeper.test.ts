import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { decodePem, encodePem } from "../../../ca/pki/pem.ts";
import { verifySvid } from "../../../ca/pki/svid.ts";
import { StoreError } from "../../../ca/store/errors.ts";
import type { AuthorityRow } from "../../../ca/store/rows/authorities.ts";
import type { Store } from "../../../ca/store/store.ts";
import { openssl, opensslAvailable } from "../../support/openssl.ts";
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
      // Too late for a whole day's certificate: then nobody waits for the replica that has the lease.
      host.clock.nowMs += 24.5 * hourMs;
      other.clock.nowMs = host.clock.nowMs;
      onRotate = async () => {
        onRotate = undefined;
        await issue(other);
      };
      await host.ca.tick();
      expect((await states()).filter((state) => state === "active")).toHaveLength(1);
      expect(chainOf(await issue())[1]).toEqual(chainOf(await issue(other))[1]);
      expect(host.logged).toContain("another replica was faster; taking what it made");
    } finally {
      await other.close();
    }
  });

  test("that another replica replaced is noticed at the next look, and the listeners hear of it", async () => {
    const other = await startTestCa({ dataDir: host.dataDir, nowMs: host.clock.nowMs + 24.5 * hourMs });
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

describe("the root", () => {
  const roots = async (target: TestCa) => (await target.store.authorities()).filter(({ type }) => type === "root");

  test("has a successor that is published first, then takes over, and stays until nothing needs it any more", async () => {
    const short = await startTestCa({ settings: { rootLifetime: "20d", rootRetireAfter: "10%" } });
    try {
      const rootStates = async () => (await roots(short)).map(({ state }) => state);
      short.clock.nowMs += 14 * dayMs;
      await short.ca.tick();
      expect(await rootStates()).toEqual(["active"]);
      short.clock.nowMs += dayMs;
      await short.ca.tick();
      expect(await rootStates()).toEqual(["active", "prepared"]);
      expect(short.ca.bundle()).toMatchObject({ sequence: "2" });
      expect(decodePem(short.ca.bundle().pem, "CERTIFICATE")).toHaveLength(2);
      const underOld = chainOf(await issue(short));
      short.clock.nowMs += 2 * dayMs;
      await short.ca.tick();
      expect(await rootStates()).toEqual(["retiring", "active"]);
      const underNew = chainOf(await issue(short));
      expect([underOld.length, underNew.length]).toEqual([2, 3]);
      const bundleOf = (rows: readonly AuthorityRow[]) => new Map([["east", { trustDomain: "east", jwtAuthorities: [], x509Authorities: rows.map(({ certificate }) => parseCertificate(certificate)) }]]);
      for (const rows of (await roots(short)).map((row) => [row])) {
        expect(verifySvid({ chain: underNew, bundles: bundleOf(rows), nowMs: short.clock.nowMs, purpose: "client" }).id.uri).toBe(cart.spiffeId);
      }
      if (opensslAvailable) {
        const [leaf, ...rest] = underNew.map((der) => encodePem("CERTIFICATE", der));
        for (const { certificate } of await roots(short)) {
          const { stdout } = openssl(
            ["verify", "-x509_strict", "-attime", String(Math.floor(short.clock.nowMs / 1000)), "-CAfile", "anchor.pem", "-untrusted", "rest.pem", "leaf.pem"],
            { "anchor.pem": encodePem("CERTIFICATE", certificate), "rest.pem": rest.join(""), "leaf.pem": leaf! },
          );
          expect(stdout).toContain("leaf.pem: OK");
        }
      }
      // What the overlap costs each handshake.
      expect(underNew[2]!.length).toBeLessThan(600);
      short.clock.nowMs += 2.1 * dayMs;
      await short.ca.tick();
      expect(await rootStates()).toEqual(["retired", "active"]);
      expect(short.ca.bundle()).toMatchObject({ sequence: "3" });
      expect(decodePem(short.ca.bundle().pem, "CERTIFICATE")).toHaveLength(1);
      expect(chainOf(await issue(short))).toHaveLength(2);
    } finally {
      await short.close();
    }
  });

  test("does not change while a holder has not acknowledged the next one, and the log says who; issuers end with it", async () => {
    const short = await startTestCa({ settings: { rootLifetime: "3d" } });
    try {
      short.clock.nowMs += 0.95 * dayMs;
      const { serialNumber } = await issue(short);
      short.clock.nowMs += 0.5 * dayMs;
      await short.ca.tick();
      expect((await roots(short)).map(({ state }) => state)).toEqual(["active", "prepared"]);
      expect(short.logged.join()).toMatch(/waits for its holders/);
      expect(short.logged.join()).toMatch(/root expires at .* replace the root/);
      await short.store.acknowledge({ serialNumber, sequence: 2 });
      await short.ca.tick();
      expect((await roots(short)).map(({ state }) => state)).toEqual(["retiring", "active"]);
      expect((await issue(short)).spiffeId).toBe(cart.spiffeId);
    } finally {
      await short.close();
    }
  });
});
