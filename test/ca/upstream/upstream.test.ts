import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { verifyLog } from "../../../ca/audit/verify.ts";
import { judgeUpstream } from "../../../ca/check/upstream.ts";
import type { AuthorityType } from "../../../ca/contract/authorities.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { verifySvid } from "../../../ca/pki/svid.ts";
import { adminOf, bundleOf, forgedBy, issue, rowsOf, startParent, stolenIssuer, type ParentCa } from "../../support/clusters.ts";
import { outcomeOf } from "../../support/outcome.ts";
import { auditEvents, chainOf, hourMs, newCsr, type TestCa } from "../../support/running-ca.ts";

let parent: ParentCa;
const statesOf = async (host: Parameters<typeof rowsOf>[0], type: AuthorityType) => (await rowsOf(host, type)).map(({ state }) => state).sort();
/** Whether a workload with this DNS name is believed. */
async function outcomeOfNamed(host: TestCa, dnsName: string): Promise<string> {
  const { trustDomain } = host.ca;
  const chain = chainOf(await issue(host, [dnsName]));
  return outcomeOf(() => verifySvid({ chain, bundles: new Map([[trustDomain, bundleOf(host)]]), nowMs: parent.clock.nowMs, purpose: "server" }));
}

describe("the CA of a cluster under another one", () => {
  let west: TestCa;
  beforeAll(async () => {
    parent = await startParent();
    west = await parent.below("west.example");
  }, 60_000);
  afterAll(() => parent.close());

  test("issues for its own trust domain, below the other's root, by an issuer that is held to it", async () => {
    const chain = chainOf(await issue(west));
    expect(chain).toHaveLength(2);
    const { id } = verifySvid({ chain, bundles: new Map([["west.example", bundleOf(west)]]), nowMs: parent.clock.nowMs, purpose: "server" });
    expect(id.uri).toBe("spiffe://west.example/web");
    expect(bundleOf(west).x509Authorities.map(({ fingerprint }) => fingerprint)).toEqual(bundleOf(parent.served).x509Authorities.map(({ fingerprint }) => fingerprint));
    const issuer = parseCertificate(chain[1]!);
    expect(issuer).toMatchObject({ basicConstraints: { certificateAuthority: true, pathLength: 0 }, subjectAltName: { uris: ["spiffe://west.example"] }, nameConstraints: { permitted: { uris: ["west.example"] } } });
    expect(issuer.notAfterMs - parent.clock.nowMs).toBeGreaterThan(6 * 24 * hourMs);
    expect(await statesOf(west, "root")).toEqual(["active"]);
    expect((await west.ca.authorities()).find(({ type }) => type === "root")?.key).toBe("upstream");
  });

  test("is not lent the parent's trust domain, nor lends its own to it or to another cluster under it, whichever bundle is asked", async () => {
    const east = await parent.below("east.example");
    const stolen = await stolenIssuer(west);
    const bundles = new Map([["west.example", bundleOf(west)], ["east.example", bundleOf(east)], ["root.example", bundleOf(parent.served)]]);
    // One root for all three: what keeps them apart is not the anchors.
    expect(new Set([...bundles.values()].flatMap(({ x509Authorities }) => x509Authorities.map(({ fingerprint }) => fingerprint))).size).toBe(1);
    const outcome = (spiffeId: string, issuer = stolen) => outcomeOf(() => verifySvid({ chain: forgedBy(issuer, spiffeId, parent.clock.nowMs).chain, bundles, nowMs: parent.clock.nowMs, purpose: "client" }));
    expect(outcome("spiffe://west.example/web")).toBe("accepted");
    expect(outcome("spiffe://east.example/web")).toBe("path_name_constraint_violated");
    expect(outcome("spiffe://root.example/web")).toBe("path_name_constraint_violated");
    // The parent's own issuer has no constraint; its trust domain alone keeps it from others.
    const parentsOwn = await stolenIssuer({ store: parent.served.ca.store, dataDir: parent.dataDir });
    expect(outcome("spiffe://root.example/web", parentsOwn)).toBe("accepted");
    expect(outcome("spiffe://west.example/web", parentsOwn)).toBe("svid_issuer_trust_domain");
  });

  test("whose issuer has no constraint is kept from others by its trust domain all the same, and check warns", async () => {
    const north = await parent.below("north.example", { invitation: await parent.invite("north.example", "cluster-unconstrained") });
    const stolen = await stolenIssuer(north);
    expect(stolen.certificate.nameConstraints).toBeUndefined();
    const bundles = new Map([["west.example", bundleOf(west)], ["north.example", bundleOf(north)]]);
    const outcome = (spiffeId: string) => outcomeOf(() => verifySvid({ chain: forgedBy(stolen, spiffeId, parent.clock.nowMs).chain, bundles, nowMs: parent.clock.nowMs, purpose: "client" }));
    expect([outcome("spiffe://north.example/web"), outcome("spiffe://west.example/web")]).toEqual(["accepted", "svid_issuer_trust_domain"]);
    const findings = async (host: TestCa) => judgeUpstream({
      authorities: await host.ca.authorities(), vitals: await host.ca.vitals(), nowMs: parent.clock.nowMs, version: "", readiness: await host.ca.readiness(), notPermitted: [],
    }).map(({ check, status }) => `${check} ${status}`);
    expect(await findings(north)).toEqual(["upstream-followed ok", "upstream-constrained warning"]);
    expect(await findings(west)).toEqual(["upstream-followed ok", "upstream-constrained ok"]);
  });

  test("that is held to DNS names gives those and its own machine's, any address, and no other names", async () => {
    const south = await parent.below("south.example", { invitation: await parent.invite("south.example", "cluster", "dns:south.svc", "dns:*.south.svc") });
    expect((await stolenIssuer(south)).certificate.nameConstraints).toMatchObject({ permitted: { uris: ["south.example"], dnsNames: ["south.svc", "localhost"], ipAddresses: [] } });
    expect(await outcomeOfNamed(south, "web.south.svc")).toBe("accepted");
    await expect(outcomeOfNamed(south, "db.east.svc")).rejects.toMatchObject({ code: "dns_name_refused", message: expect.stringContaining("south.svc, localhost") });
    await expect(parent.below("elsewhere.example", { invitation: await parent.invite("elsewhere.example", "cluster", "dns:elsewhere.svc", "dns:*.elsewhere.svc"), settings: { publicUrl: "https://ca.south.svc" } }))
      .rejects.toMatchObject({ code: "upstream_answer", message: expect.stringMatching(/ca\.south\.svc.*--dns-domain/s) });
  });

  test("asks as an identity of the parent's that may have issuers of its trust domain, held to it, and nothing else", async () => {
    const spiffeId = "spiffe://root.example/cluster/west.example";
    const { operators } = await parent.served.ca.operators.list();
    expect(operators.find((one) => one.spiffeId === spiffeId)).toMatchObject({ role: "operator", scope: ["cluster:west.example"] });
    const caller = await parent.served.ca.operators.callerOf({ uri: spiffeId } as never);
    const ask = (trustDomain: string, more: object = {}) => parent.served.ca.issueIssuer({ csr: newCsr().csr, profile: "countersign", trustDomain, ...more }, caller);
    await expect(ask("east.example")).rejects.toMatchObject({ code: "forbidden" });
    await expect(ask("root.example")).rejects.toMatchObject({ code: "forbidden" });
    await expect(ask("west.example", { uriConstraint: false })).rejects.toMatchObject({ code: "forbidden" });
    await expect(parent.served.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://root.example/web" } }, { caller })).rejects.toMatchObject({ code: "forbidden" });
    expect((await ask("west.example")).trustDomain).toBe("west.example");
  });

  test("refuses what is its parent's to do, and says where", async () => {
    const [root] = await rowsOf(west, "root");
    await expect(west.ca.operateAuthority({ action: "rotate", type: "root" }, west.admin)).rejects.toMatchObject({ code: "authority_state", message: expect.stringContaining("rotate it there") });
    await expect(west.ca.operateAuthority({ action: "prepare" }, west.admin)).rejects.toMatchObject({ code: "authority_state" });
    await expect(west.ca.operateAuthority({ action: "taint", id: root!.id }, west.admin)).rejects.toMatchObject({ code: "authority_state", message: expect.stringContaining("taint it there") });
    await expect(west.ca.issueIssuer({ csr: newCsr().csr, profile: "linkerd", trustDomain: "other" }, adminOf(west))).rejects.toMatchObject({ code: "issuer_unavailable" });
  });

  test("replaces its issuer at an operator's word, and its log verifies", async () => {
    const [before] = await rowsOf(west, "issuer", "active");
    await parent.pass(1000);
    await west.ca.operateAuthority({ action: "rotate", type: "issuer" }, west.admin);
    const [after] = await rowsOf(west, "issuer", "active");
    expect(after!.id).not.toBe(before!.id);
    expect((await rowsOf(west, "issuer", "retiring")).map(({ id }) => id)).toContain(before!.id);
    expect(await verifyLog({ store: west.store })).toMatchObject({ ok: true });
    expect(JSON.stringify(await auditEvents(west.store))).not.toContain("PRIVATE KEY");
  });
});
