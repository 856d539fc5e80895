import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { verifyLog } from "../../../ca/audit/verify.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { everybodyHasTheBundle, issue, rowsOf, startParent, stolenIssuer, type ParentCa } from "../../support/clusters.ts";
import { newCsr, type TestCa } from "../../support/running-ca.ts";

let parent: ParentCa;

describe("what the CA above revokes or taints", () => {
  let west: TestCa;
  beforeAll(async () => {
    parent = await startParent();
    west = await parent.below("west.example");
  }, 60_000);
  afterAll(() => parent.close());

  test("another cluster's issuer is on the deny-list here, and a workload of the parent's is not", async () => {
    const south = await parent.below("south.example");
    const { serialNumber } = (await stolenIssuer(south)).certificate;
    const workload = await parent.served.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://root.example/web" } }, { caller: parent.admin });
    await parent.served.ca.revoke(workload.serialNumber, "keyCompromise", parent.admin);
    await parent.served.ca.revoke(serialNumber, "cACompromise", parent.admin);
    await parent.pass(1000, west);
    const denied = (await west.store.revocations({ after: 0, limit: 100 })).map((row) => row.serialNumber);
    expect(denied).toContain(serialNumber);
    expect(denied).not.toContain(workload.serialNumber);
    await parent.pass(1000, west);
    expect((await west.store.revocations({ after: 0, limit: 100 })).filter((row) => row.serialNumber === serialNumber)).toHaveLength(1);
    expect(await verifyLog({ store: west.store })).toMatchObject({ ok: true });
  });

  test("our own issuer is revoked here, too, another one signs from then on, and everybody is told to renew", async () => {
    const [row] = await rowsOf(west, "issuer", "active");
    await parent.served.ca.revoke(parseCertificate(row!.certificate).serialNumber, "keyCompromise", parent.admin);
    await parent.pass(1000, west);
    expect((await rowsOf(west, "issuer", "revoked")).map(({ id }) => id)).toContain(row!.id);
    expect(await rowsOf(west, "issuer", "active")).toHaveLength(1);
    expect((await west.store.revocations({ after: 0, limit: 100 })).map((one) => one.serialNumber)).toContain(parseCertificate(row!.certificate).serialNumber);
    expect((await west.store.announcements({ after: 0, nowMs: parent.clock.nowMs, limit: 10 })).map(({ body }) => (JSON.parse(body) as { authorityId: string }).authorityId)).toContain(row!.id);
    expect((await issue(west)).spiffeId).toBe("spiffe://west.example/web");
    expect(await verifyLog({ store: west.store })).toMatchObject({ ok: true });
  });

  test("an issuer that an operator revokes here is revoked above, so that other clusters refuse it", async () => {
    const stolen = await stolenIssuer(west);
    await west.ca.operateAuthority({ action: "taint", id: stolen.id }, west.admin);
    await west.ca.operateAuthority({ action: "revoke", id: stolen.id, force: true }, west.admin);
    await parent.pass(1000, west);
    const { serialNumber } = stolen.certificate;
    expect(await parent.served.ca.store.certificate(serialNumber)).toMatchObject({ revocationReason: "cACompromise" });
    // Told back to us by the feed, it is on the list once.
    await parent.pass(1000, west);
    expect((await west.store.revocations({ after: 0, limit: 100 })).filter((row) => row.serialNumber === serialNumber)).toHaveLength(1);
  });

  test("a root that it tainted has our issuer replaced by one of its successor, once", async () => {
    await parent.served.ca.operateAuthority({ action: "prepare" }, parent.admin);
    await parent.pass(1000, west);
    await everybodyHasTheBundle(west);
    const [before] = await rowsOf(west, "issuer", "active");
    const active = (await rowsOf(parent.served.ca, "root", "active"))[0]!.id;
    await parent.served.ca.operateAuthority({ action: "taint", id: active, force: true }, parent.admin);
    await parent.pass(1000, west);
    const [after] = await rowsOf(west, "issuer", "active");
    expect(after!.parentId).not.toBe(before!.parentId);
    expect((await west.store.authorities()).find(({ id }) => id === before!.id)?.state).toBe("tainted");
    await parent.pass(1000, west);
    expect((await rowsOf(west, "issuer", "active"))[0]!.id).toBe(after!.id);
  });

  test("who is shut out has no next issuer, and says why", async () => {
    await parent.served.ca.operators.remove("spiffe://root.example/cluster/west.example", parent.admin);
    await parent.pass(1000);
    await expect(west.ca.operateAuthority({ action: "rotate", type: "issuer" }, west.admin)).rejects.toMatchObject({ code: "issuer_unavailable", message: expect.stringContaining("forbidden") });
  });
});
