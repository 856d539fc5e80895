import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { AuthorityCommand, AuthorityState, AuthorityType } from "../../../ca/contract/authorities.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { auditEvents, chainOf, dayMs, newCsr, startTestCa, type TestCa } from "../../support/running-ca.ts";

let host: TestCa;
beforeEach(async () => {
  host = await startTestCa();
});
afterEach(() => host.close());

const cart = { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/cart" } as const;
const issue = () => host.ca.issue({ csr: newCsr().csr, attestation: cart }, { caller: host.admin });
/** A second later, so that authorities are listed in the order they were made in. */
const operate = (command: AuthorityCommand) => {
  host.clock.nowMs += 1000;
  return host.ca.operateAuthority(command, host.admin);
};
const list = async (type: AuthorityType) => (await host.store.authorities()).filter((row) => row.type === type);
const states = async (type: AuthorityType) => (await list(type)).map(({ state }) => state);
const find = async (type: AuthorityType, state: AuthorityState) => (await list(type)).find((row) => row.state === state)!;
const issuerOf = (issued: Awaited<ReturnType<typeof issue>>) => Buffer.from(parseCertificate(chainOf(issued)[0]!).authorityKeyIdentifier!).toString("hex");

describe("a root", () => {
  test("is prepared once, and takes over by hand only when every holder has it, who are named otherwise", async () => {
    const { serialNumber } = await issue();
    const { authorities: [prepared] } = await operate({ action: "prepare" });
    expect(prepared).toMatchObject({ type: "root", state: "prepared", publishedSequence: "2", key: "sealed" });
    await expect(operate({ action: "prepare" })).rejects.toMatchObject({ code: "authority_state" });
    expect((await host.ca.authorities()).find(({ id }) => id === prepared!.id)?.waitsFor).toMatchObject({ count: 1, holders: [{ spiffeId: cart.spiffeId, serialNumber }] });
    const refusal = expect(operate({ action: "activate", id: prepared!.id })).rejects;
    await refusal.toMatchObject({ code: "authority_held_back", message: expect.stringContaining(cart.spiffeId) });
    expect(await states("root")).toEqual(["active", "prepared"]);
    await host.store.acknowledge({ serialNumber, sequence: 2 });
    expect(await operate({ action: "activate", id: prepared!.id })).toMatchObject({ holdersAffected: 0 });
    expect(await states("root")).toEqual(["retiring", "active"]);
    expect((await find("issuer", "active")).parentId).toBe(prepared!.id);
  });

  test("is forced into its place with holders behind, who are counted, named and written down", async () => {
    const { serialNumber } = await issue();
    const { authorities: [prepared] } = await operate({ action: "prepare" });
    expect(await operate({ action: "activate", id: prepared!.id, force: true })).toMatchObject({ holdersAffected: 1, holders: [{ serialNumber }] });
    const [changed] = (await auditEvents(host.store)).filter(({ authorityId, to }) => authorityId === prepared!.id && to === "active");
    expect(changed).toMatchObject({ forced: true, holdersAffected: 1, actor: host.admin.actor });
  });

  test("that is rotated takes over by itself once every holder has it, however young the old one is", async () => {
    const { serialNumber } = await issue();
    await operate({ action: "rotate", type: "root" });
    expect(await states("root")).toEqual(["active", "prepared"]);
    await host.store.acknowledge({ serialNumber, sequence: 2 });
    await host.ca.tick();
    expect(await states("root")).toEqual(["retiring", "active"]);
  });

  test("that is rotated is looked at within seconds, as one that waits for its holders is, and not when the next look was planned", async () => {
    await issue();
    const timers = vi.spyOn(globalThis, "setTimeout");
    try {
      await operate({ action: "rotate", type: "root" });
      expect(timers.mock.calls.map(([, delayMs = 0]) => delayMs)).toContainEqual(expect.toSatisfy((delayMs: number) => delayMs >= 1000 && delayMs <= 2000));
    } finally {
      timers.mockRestore();
    }
  });

  test("that was replaced retires by hand when nothing below it is valid, and takes its issuers along", async () => {
    const { authorities: [prepared] } = await operate({ action: "prepare" });
    await issue();
    await operate({ action: "activate", id: prepared!.id, force: true });
    const old = await find("root", "retiring");
    await expect(operate({ action: "retire", id: old.id })).rejects.toMatchObject({ code: "authority_held_back", message: expect.stringContaining(cart.spiffeId) });
    host.clock.nowMs += dayMs + 1000;
    await operate({ action: "retire", id: old.id });
    expect(await states("root")).toEqual(["retired", "active"]);
    expect((await states("issuer"))[0]).toBe("retired");
    expect(host.ca.bundle().sequence).toBe("3");
  });

  test("is tainted only when another one is trusted already; then the CA goes on below that one", async () => {
    const old = await find("root", "active");
    await expect(operate({ action: "taint", id: old.id })).rejects.toMatchObject({ code: "authority_held_back", message: expect.stringContaining("rotate") });
    await operate({ action: "prepare" });
    await operate({ action: "taint", id: old.id });
    expect([await states("root"), await states("issuer")]).toEqual([["tainted", "active"], ["tainted", "active"]]);
    expect(chainOf(await issue())).toHaveLength(2);
    // Its holders can still talk while they renew.
    expect(host.ca.bundle()).toMatchObject({ sequence: "2" });
    await operate({ action: "revoke", id: old.id });
    expect([await states("root"), await states("issuer")]).toEqual([["revoked", "active"], ["revoked", "active"]]);
    expect(host.ca.bundle()).toMatchObject({ sequence: "3" });
  });
});

describe("an issuer", () => {
  test("is replaced at once", async () => {
    const before = issuerOf(await issue());
    await operate({ action: "rotate", type: "issuer" });
    expect(await states("issuer")).toEqual(["retiring", "active"]);
    expect(issuerOf(await issue())).not.toBe(before);
  });

  test("that is tainted signs nothing any more, on no replica, and its holders are told to renew", async () => {
    const other = await startTestCa({ dataDir: host.dataDir, nowMs: host.clock.nowMs });
    try {
      const tainted = issuerOf(await issue());
      await operate({ action: "taint", id: tainted });
      expect(await states("issuer")).toEqual(["tainted", "active"]);
      const announced = await host.store.announcements({ after: 0, nowMs: host.clock.nowMs, limit: 9 });
      expect(announced.map(({ body }) => JSON.parse(body) as unknown)).toEqual([{ authorityId: tainted, windowSeconds: 300 }]);
      // The other replica has not looked yet: the commit tells it.
      const issued = await other.ca.issue({ csr: newCsr().csr, attestation: cart }, { caller: other.admin });
      expect(issuerOf(issued)).toBe((await find("issuer", "active")).id);
    } finally {
      await other.close();
    }
  });

  test("is revoked after it was tainted, once its holders have renewed, and is in the feed", async () => {
    const issued = await issue();
    const id = issuerOf(issued);
    await expect(operate({ action: "revoke", id })).rejects.toMatchObject({ code: "authority_state", message: expect.stringContaining("taint it first") });
    await operate({ action: "taint", id });
    await expect(operate({ action: "revoke", id })).rejects.toMatchObject({ code: "authority_held_back", message: expect.stringContaining(cart.spiffeId) });
    await operate({ action: "revoke", id, force: true });
    const [revocation] = await host.store.revocations({ after: 0, limit: 9 });
    const row = (await list("issuer"))[0]!;
    expect(revocation).toMatchObject({ serialNumber: parseCertificate(row.certificate).serialNumber, reason: "cACompromise", notAfterMs: row.notAfterMs, authorityId: row.parentId });
    const [entry] = (await auditEvents(host.store)).filter(({ type }) => type === "authority.revoked");
    expect(entry).toMatchObject({ authorityId: id, from: "tainted", forced: true, holdersAffected: 1 });
    await expect(operate({ action: "revoke", id })).rejects.toMatchObject({ code: "authority_state" });
  });

  test.each([
    ["retire", "authority_state"], ["activate", "authority_state"],
  ] as const)("that is active does not %s", async (action, code) => {
    await expect(operate({ action, id: (await find("issuer", "active")).id })).rejects.toMatchObject({ code });
  });
});

test("an authority that is not there is not found", async () => {
  await expect(operate({ action: "taint", id: "00" })).rejects.toMatchObject({ code: "not_found" });
});
