import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { verifyLog } from "../../../ca/audit/verify.ts";
import { judgeUpstream } from "../../../ca/check/upstream.ts";
import { encodeUpstream, parseUpstream, type UpstreamInvitation } from "../../../ca/config-upstream.ts";
import type { AuthorityState, AuthorityType } from "../../../ca/contract/authorities.ts";
import type { Caller } from "../../../ca/http/services.ts";
import { parseBundle, type Bundle } from "../../../ca/pki/bundle.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { verifySvid } from "../../../ca/pki/svid.ts";
import { forgedBy, startParent, stolenIssuer, type ParentCa } from "../../support/clusters.ts";
import { outcomeOf } from "../../support/outcome.ts";
import { auditEvents, chainOf, hourMs, newCsr, startTestCa, type TestCa } from "../../support/running-ca.ts";

let parent: ParentCa;

const adminOf = ({ ca }: Pick<TestCa, "ca">): Caller => ({ actor: "token:test", name: "test", role: "admin", scope: [`spiffe://${ca.trustDomain}/*`] });
const issue = (host: TestCa, path = "web") => host.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: `spiffe://${host.ca.trustDomain}/${path}` } }, { caller: adminOf(host) });
const bundleOf = ({ ca }: Pick<TestCa, "ca">): Bundle => parseBundle(ca.trustDomain, ca.bundle().jwks);
const rowsOf = async ({ store }: Pick<TestCa, "store">, type: AuthorityType, state?: AuthorityState) => (
  (await store.authorities()).filter((row) => row.type === type && (state === undefined || row.state === state))
);
const statesOf = async (host: Pick<TestCa, "store">, type: AuthorityType) => (await rowsOf(host, type)).map(({ state }) => state).sort();
const parentHost = () => ({ ca: parent.served.ca, store: parent.served.ca.store });
/** Whether a workload with this DNS name is believed. */
async function outcomeOfNamed(host: TestCa, dnsName: string): Promise<string> {
  const { trustDomain } = host.ca;
  const issued = await host.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: `spiffe://${trustDomain}/web`, dnsNames: [dnsName] } }, { caller: adminOf(host) });
  return outcomeOf(() => verifySvid({ chain: chainOf(issued), bundles: new Map([[trustDomain, bundleOf(host)]]), nowMs: parent.clock.nowMs, purpose: "server" }));
}
/** As its proxies would say by themselves. */
async function everybodyHasTheBundle({ ca, store }: TestCa): Promise<void> {
  const sequence = Number(ca.bundle().sequence);
  for (const { serialNumber } of await store.holdersBehind({ sequence, nowMs: parent.clock.nowMs, limit: 100 })) await store.acknowledge({ serialNumber, sequence });
}
/** Both clocks, and what the timers of both would do by then. */
async function pass(ms: number, ...clusters: readonly TestCa[]): Promise<void> {
  parent.clock.nowMs += ms;
  await parent.served.ca.tick();
  for (const one of clusters) await one.ca.tick();
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
    expect(bundleOf(west).x509Authorities.map(({ fingerprint }) => fingerprint)).toEqual(bundleOf(parentHost()).x509Authorities.map(({ fingerprint }) => fingerprint));
    const issuer = parseCertificate(chain[1]!);
    expect(issuer).toMatchObject({ basicConstraints: { certificateAuthority: true, pathLength: 0 }, subjectAltName: { uris: ["spiffe://west.example"] }, nameConstraints: { permitted: { uris: ["west.example"] } } });
    expect(issuer.notAfterMs - parent.clock.nowMs).toBeGreaterThan(6 * 24 * hourMs);
    expect(await statesOf(west, "root")).toEqual(["active"]);
    expect((await west.ca.authorities()).find(({ type }) => type === "root")?.key).toBe("upstream");
  });

  test("is not lent the parent's trust domain, nor lends its own to it or to another cluster under it, whichever bundle is asked", async () => {
    const east = await parent.below("east.example");
    const stolen = await stolenIssuer(west);
    const bundles = new Map([["west.example", bundleOf(west)], ["east.example", bundleOf(east)], ["root.example", bundleOf(parentHost())]]);
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
    await pass(1000);
    await west.ca.operateAuthority({ action: "rotate", type: "issuer" }, west.admin);
    const [after] = await rowsOf(west, "issuer", "active");
    expect(after!.id).not.toBe(before!.id);
    expect((await rowsOf(west, "issuer", "retiring")).map(({ id }) => id)).toContain(before!.id);
    expect(await verifyLog({ store: west.store })).toMatchObject({ ok: true });
    expect(JSON.stringify(await auditEvents(west.store))).not.toContain("PRIVATE KEY");
  });
});

describe("as time passes", () => {
  let east: TestCa;
  beforeAll(async () => {
    parent = await startParent();
    east = await parent.below("east.example");
  }, 60_000);
  afterAll(() => parent.close());

  test("the issuer is replaced at half of its life, and not while the parent is away; what is held goes on, readiness and the log say so", async () => {
    await pass(1000, east);
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
    await pass(0, east);
    expect((await rowsOf(east, "issuer", "active"))[0]!.id).not.toBe(before!.id);
    expect((await issue(east)).spiffeId).toBe("spiffe://east.example/web");
    expect((await east.ca.readiness()).ready).toBe(true);
  }, 30_000);

  test("an identity that expired meanwhile is attested again with its token and its last key", async () => {
    const certificates = await parent.served.ca.store.certificates({ limit: 100, nowMs: parent.clock.nowMs, spiffeId: "spiffe://root.example/cluster/east.example" });
    expect(certificates.map(({ attestation }) => attestation)).toEqual(["join-token", "join-token"]);
    expect(certificates[0]!.renewedFrom).toBe(certificates[1]!.serialNumber);
    await pass(13 * hourMs, east);
    const [newest] = await parent.served.ca.store.certificates({ limit: 1, nowMs: parent.clock.nowMs, spiffeId: "spiffe://root.example/cluster/east.example" });
    expect(newest).toMatchObject({ attestation: "svid", renewedFrom: certificates[0]!.serialNumber });
  });

  test("the parent's next root waits for the cluster, which waits for its own holders, and then signs the cluster's issuers", async () => {
    const web = await issue(east);
    await parent.served.ca.operateAuthority({ action: "rotate", type: "root" }, parent.admin);
    await pass(1000, east);
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
    await pass(1000, east);
    await pass(1000);
    expect(await statesOf(parentHost(), "root")).toEqual(["active", "retiring"]);
    await east.ca.operateAuthority({ action: "rotate", type: "issuer" }, east.admin);
    expect((await rowsOf(east, "root", "active"))[0]!.id).toBe(prepared!.id);
    const chain = chainOf(await issue(east));
    const bundle = { ...bundleOf(east), x509Authorities: [parseCertificate(prepared!.certificate)] };
    expect(verifySvid({ chain, bundles: new Map([["east.example", bundle]]), nowMs: parent.clock.nowMs, purpose: "client" }).id.uri).toBe("spiffe://east.example/web");
  }, 30_000);

  test("an issuer by a root that somebody here does not trust yet is kept back, and taken up when they do", async () => {
    const before = (await rowsOf(east, "issuer", "active"))[0]!.id;
    await parent.served.ca.operateAuthority({ action: "prepare" }, parent.admin);
    await pass(1000, east);
    const [prepared] = await rowsOf(east, "root", "prepared");
    const holder = await issue(east);
    const taken = await parent.served.ca.operateAuthority({ action: "activate", id: prepared!.id, force: true }, parent.admin);
    expect(taken.holders.map(({ spiffeId }) => spiffeId)).toContain("spiffe://root.example/cluster/east.example");
    await expect(east.ca.operateAuthority({ action: "rotate", type: "issuer" }, east.admin)).rejects.toMatchObject({ code: "issuer_unavailable", message: expect.stringContaining(holder.spiffeId) });
    expect((await rowsOf(east, "issuer", "active"))[0]!.id).toBe(before);
    await everybodyHasTheBundle(east);
    await east.ca.operateAuthority({ action: "rotate", type: "issuer" }, east.admin);
    expect((await rowsOf(east, "root", "active"))[0]!.id).toBe(prepared!.id);
  }, 30_000);
});

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
    await pass(1000, west);
    const denied = (await west.store.revocations({ after: 0, limit: 100 })).map((row) => row.serialNumber);
    expect(denied).toContain(serialNumber);
    expect(denied).not.toContain(workload.serialNumber);
    await pass(1000, west);
    expect((await west.store.revocations({ after: 0, limit: 100 })).filter((row) => row.serialNumber === serialNumber)).toHaveLength(1);
    expect(await verifyLog({ store: west.store })).toMatchObject({ ok: true });
  });

  test("our own issuer is revoked here, too, another one signs from then on, and everybody is told to renew", async () => {
    const [row] = await rowsOf(west, "issuer", "active");
    await parent.served.ca.revoke(parseCertificate(row!.certificate).serialNumber, "keyCompromise", parent.admin);
    await pass(1000, west);
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
    await pass(1000, west);
    const { serialNumber } = stolen.certificate;
    expect(await parent.served.ca.store.certificate(serialNumber)).toMatchObject({ revocationReason: "cACompromise" });
    // Told back to us by the feed, it is on the list once.
    await pass(1000, west);
    expect((await west.store.revocations({ after: 0, limit: 100 })).filter((row) => row.serialNumber === serialNumber)).toHaveLength(1);
  });

  test("a root that it tainted has our issuer replaced by one of its successor, once", async () => {
    await parent.served.ca.operateAuthority({ action: "prepare" }, parent.admin);
    await pass(1000, west);
    await everybodyHasTheBundle(west);
    const [before] = await rowsOf(west, "issuer", "active");
    const active = (await rowsOf(parentHost(), "root", "active"))[0]!.id;
    await parent.served.ca.operateAuthority({ action: "taint", id: active, force: true }, parent.admin);
    await pass(1000, west);
    const [after] = await rowsOf(west, "issuer", "active");
    expect(after!.parentId).not.toBe(before!.parentId);
    expect((await west.store.authorities()).find(({ id }) => id === before!.id)?.state).toBe("tainted");
    await pass(1000, west);
    expect((await rowsOf(west, "issuer", "active"))[0]!.id).toBe(after!.id);
  });

  test("who is shut out has no next issuer, and says why", async () => {
    await parent.served.ca.operators.remove("spiffe://root.example/cluster/west.example", parent.admin);
    await pass(1000);
    await expect(west.ca.operateAuthority({ action: "rotate", type: "issuer" }, west.admin)).rejects.toMatchObject({ code: "issuer_unavailable", message: expect.stringContaining("forbidden") });
  });
});

describe("a first start", () => {
  beforeAll(async () => {
    parent = await startParent();
  }, 60_000);
  afterAll(() => parent.close());

  const begin = (invitation: string, options: object = {}) => parent.below("new.example", { invitation, ...options });
  const altered = (invitation: string, change: (parts: UpstreamInvitation) => Partial<UpstreamInvitation>) => encodeUpstream({ ...parseUpstream(invitation)!, ...change(parseUpstream(invitation)!) });

  test.each([
    ["with another root's fingerprint sends nothing", () => ({ rootFingerprint: "00".repeat(32) }), "upstream_untrusted", /the secret was not sent/],
    ["with another trust domain for the parent", () => ({ parentTrustDomain: "other.example" }), "upstream_untrusted", /nothing was sent to it/],
    ["with a token that nobody made", ({ token }: UpstreamInvitation) => ({ token: `${token.slice(0, -4)}AAAA` }), "upstream_refused", /token_unknown.*issuer invite/s],
    ["without anybody at the URL", () => ({ url: "https://127.0.0.1:9" }), "upstream_unreachable", /cannot reach 127\.0\.0\.1:9/],
    ["for a trust domain that the invitation is not for", () => ({ trustDomain: "new.example" }), "upstream_refused", /forbidden.*new\.example.*operator list/s],
  ] as const)("%s: %#", async (_what, change, code, message) => {
    const other = await parent.invite("elsewhere.example");
    await expect(begin(altered(other, (parts) => ({ trustDomain: "new.example", ...change(parts) })))).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test("with a string that was taken already is refused, and the one that took it goes on", async () => {
    const invitation = await parent.invite("new.example");
    const taken = await begin(invitation);
    await expect(begin(invitation)).rejects.toMatchObject({ code: "upstream_refused", message: expect.stringMatching(/token_already_redeemed.*issuer invite/s) });
    expect((await issue(taken)).spiffeId).toBe("spiffe://new.example/web");
  });

  test("that did not get its issuer goes on with the identity that it has, and a later start needs the string no more", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "countersign-below-"));
    const invitation = await parent.invite("again.example");
    const again = (more: object = {}) => parent.below("again.example", { invitation, dataDir, ...more });
    try {
      // The right to the issuer comes late: by then the token is spent.
      await parent.served.ca.operators.remove("spiffe://root.example/cluster/again.example", parent.admin);
      await pass(1000);
      await expect(again()).rejects.toMatchObject({ code: "upstream_refused" });
      await parent.invite("again.example");
      await pass(1000);
      const first = await again();
      const [row] = await rowsOf(first, "issuer", "active");
      await first.close();
      const later = await again({ invitation: altered(invitation, () => ({ token: "spent" })) });
      expect((await rowsOf(later, "issuer", "active"))[0]!.id).toBe(row!.id);
      await later.ca.operateAuthority({ action: "rotate", type: "issuer" }, later.admin);
      await later.close();
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
  });

  test("of a CA that has a root of its own is refused, and so is one without its parent's string", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "countersign-below-"));
    try {
      const below = await parent.below("moved.example", { dataDir });
      await below.close();
      await expect(startTestCa({ dataDir, settings: { trustDomain: "moved.example" } })).rejects.toMatchObject({ code: "root_changed", message: expect.stringContaining("upstreamFile") });
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
    const own = mkdtempSync(join(tmpdir(), "countersign-own-"));
    try {
      await (await startTestCa({ dataDir: own, settings: { trustDomain: "own.example" } })).close();
      await expect(parent.below("own.example", { dataDir: own })).rejects.toMatchObject({ code: "root_changed", message: expect.stringContaining("root of its own") });
    } finally {
      rmSync(own, { recursive: true, force: true });
    }
  });
});
