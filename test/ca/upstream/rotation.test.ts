import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AuthorityType } from "../../../ca/contract/authorities.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { verifySvid } from "../../../ca/pki/svid.ts";
import { bundleOf, everybodyHasTheBundle, issue, rowsOf, startParent, type ParentCa } from "../../support/clusters.ts";
import { chainOf, hourMs, type TestCa } from "../../support/running-ca.ts";

let parent: ParentCa;
const statesOf = async (host: Parameters<typeof rowsOf>[0], type: AuthorityType) => (await rowsOf(host, type)).map(({ state }) => state).sort();

describe("as time passes", () => {
  let east: TestCa;
  beforeAll(async () => {
    parent = await startParent();
    east = await parent.below("east.example");
  }, 60_000);
  afterAll(() => parent.close());

  test("the issuer is replaced at half of its life, and not while the parent is away; what is held goes on, readiness and the log say so", async () => {
    await parent.pass(1000, east);
    const [before] = await rowsOf(east, "issuer", "active");
    await parent.stop();
    parent.clock.nowMs += 85 * hourMs;
    await east.ca.tick();
    expect((await rowsOf(east, "issuer", "active"))[0]!.id).toBe(before!.id);
    expect((await issue(east)).spiffeId).toBe("spiffe://east.example/web");
    await east.ca.tick();
    const { ready, warnings = [] } = await east.ca.readiness();
    expect([ready, warnings.join()]).toEqual([true, expect.stringMatching(/cannot reach.*root\.example at https:.*, last followed 2.*issuer ends at/)]);
    expect(east.logged.join("\n")).toMatch(/the CA above this one is not followed: what is held stays in force/);
    // With less left than a certificate's life nothing is issued, and nothing shortened silently.
    parent.clock.nowMs += 61 * hourMs;
    await east.ca.tick();
    await expect(issue(east)).rejects.toMatchObject({ code: "issuer_unavailable" });
    expect((await east.ca.readiness()).ready).toBe(false);
    await parent.start();
    parent.clock.nowMs += 61_000;
    await parent.pass(0, east);
    expect((await rowsOf(east, "issuer", "active"))[0]!.id).not.toBe(before!.id);
    expect((await issue(east)).spiffeId).toBe("spiffe://east.example/web");
    expect((await east.ca.readiness()).ready).toBe(true);
  });

  test("an identity that expired meanwhile is attested again with its token and its last key", async () => {
    const certificates = await parent.served.ca.store.certificates({ limit: 100, nowMs: parent.clock.nowMs, spiffeId: "spiffe://root.example/cluster/east.example" });
    expect(certificates.map(({ attestation }) => attestation)).toEqual(["join-token", "join-token"]);
    expect(certificates[0]!.renewedFrom).toBe(certificates[1]!.serialNumber);
    await parent.pass(13 * hourMs, east);
    const [newest] = await parent.served.ca.store.certificates({ limit: 1, nowMs: parent.clock.nowMs, spiffeId: "spiffe://root.example/cluster/east.example" });
    expect(newest).toMatchObject({ attestation: "svid", renewedFrom: certificates[0]!.serialNumber });
  });

  test("the parent's next root waits for the cluster, which waits for its own holders, and then signs the cluster's issuers", async () => {
    const web = await issue(east);
    await parent.served.ca.operateAuthority({ action: "rotate", type: "root" }, parent.admin);
    await parent.pass(1000, east);
    const waits = async () => (await parent.served.ca.authorities()).find(({ state, type }) => type === "root" && state === "prepared")?.waitsFor?.holders.map(({ spiffeId }) => spiffeId);
    expect(await waits()).toContain("spiffe://root.example/cluster/east.example");
    expect(await statesOf(east, "root")).toEqual(["active", "prepared"]);
    expect(bundleOf(east).x509Authorities).toHaveLength(2);
    // It was prepared while the old root signs: the issuer of now is by that one, and stays.
    await east.ca.operateAuthority({ action: "rotate", type: "issuer" }, east.admin);
    expect(await statesOf(east, "root")).toEqual(["active", "prepared"]);
    const [prepared] = await rowsOf(east, "root", "prepared");
    await everybodyHasTheBundle(east);
    expect((await east.store.certificate(web.serialNumber))!.acknowledgedSequence).toBe(prepared!.publishedSequence);
    await parent.pass(1000, east);
    await parent.pass(1000);
    expect(await statesOf(parent.served.ca, "root")).toEqual(["active", "retiring"]);
    await east.ca.operateAuthority({ action: "rotate", type: "issuer" }, east.admin);
    expect((await rowsOf(east, "root", "active"))[0]!.id).toBe(prepared!.id);
    const chain = chainOf(await issue(east));
    const bundle = { ...bundleOf(east), x509Authorities: [parseCertificate(prepared!.certificate)] };
    expect(verifySvid({ chain, bundles: new Map([["east.example", bundle]]), nowMs: parent.clock.nowMs, purpose: "client" }).id.uri).toBe("spiffe://east.example/web");
  });

  test("an issuer by a root that somebody here does not trust yet is kept back, and taken up when they do", async () => {
    const before = (await rowsOf(east, "issuer", "active"))[0]!.id;
    await parent.served.ca.operateAuthority({ action: "prepare" }, parent.admin);
    await parent.pass(1000, east);
    const [prepared] = await rowsOf(east, "root", "prepared");
    const holder = await issue(east);
    const taken = await parent.served.ca.operateAuthority({ action: "activate", id: prepared!.id, force: true }, parent.admin);
    expect(taken.holders.map(({ spiffeId }) => spiffeId)).toContain("spiffe://root.example/cluster/east.example");
    await expect(east.ca.operateAuthority({ action: "rotate", type: "issuer" }, east.admin)).rejects.toMatchObject({ code: "issuer_unavailable", message: expect.stringContaining(holder.spiffeId) });
    expect((await rowsOf(east, "issuer", "active"))[0]!.id).toBe(before);
    await everybodyHasTheBundle(east);
    await east.ca.operateAuthority({ action: "rotate", type: "issuer" }, east.admin);
    expect((await rowsOf(east, "root", "active"))[0]!.id).toBe(prepared!.id);
  });
});
