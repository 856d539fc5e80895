import type { KeyObject } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { IssuedCertificate } from "../../../ca/contract/certificates.ts";
import type { SeenEdge } from "../../../ca/contract/edges.ts";
import type { Report } from "../../../ca/contract/reports.ts";
import { encodeRenewalProof, type ProofPurpose } from "../../../ca/pki/renewal-proof.ts";
import { chainOf, newCsr, newKey, proofFor, startTestCa, type TestCa } from "../../support/running-ca.ts";

const [hello, world] = ["spiffe://east/hello", "spiffe://east/world"];
interface Holder { readonly issued: IssuedCertificate; readonly key: KeyObject }
let host: TestCa;
let holder: Holder;
beforeAll(async () => {
  host = await startTestCa();
  holder = await enrol(world);
});
afterAll(() => host.close());

async function enrol(spiffeId: string): Promise<Holder> {
  const key = newKey();
  return { issued: await host.ca.issue({ csr: newCsr(key).csr, attestation: { type: "operator", spiffeId } }, { caller: host.admin }), key };
}

const edge = (more: Partial<SeenEdge> = {}): SeenEdge => ({ direction: "inbound", clientId: hello, serverId: world, secured: true, connections: 1, protocol: "http", ...more });
const edgesReport = (...edges: readonly SeenEdge[]): Report => ({ type: "edges", reportedAt: new Date(host.clock.nowMs).toISOString(), edges });

function send(report: Report, faults: { readonly by?: Holder; readonly key?: KeyObject; readonly purpose?: ProofPurpose; readonly signed?: string } = {}) {
  const { issued, key } = faults.by ?? holder;
  const text = JSON.stringify(report);
  const proof = encodeRenewalProof({
    chain: chainOf(issued), privateKey: faults.key ?? key, csr: Buffer.from(faults.signed ?? text), audience: "east", nowMs: host.clock.nowMs, purpose: faults.purpose ?? "report",
  });
  return host.ca.report({ report: text, proof }, report);
}

const seen = () => {
  host.clock.nowMs += 1000;
  return host.ca.edges({ isInView: () => true, offset: 0, limit: 100 });
};

const all = { offset: 0, limit: 100 };

describe("the listing of proxies", () => {
  test("has each by its certificate, with both clocks, version and deny-list, and no more once it has renewed", async () => {
    const own = await startTestCa();
    try {
      const key = newKey();
      const issued = await own.ca.issue({ csr: newCsr(key).csr, attestation: { type: "operator", spiffeId: world } }, { caller: own.admin });
      const renewedKey = newKey();
      const csr = newCsr(renewedKey);
      const reported: Report = { type: "edges", reportedAt: new Date(own.clock.nowMs - 2000).toISOString(), edges: [], version: "1.2.3", revocationSequence: 4 };
      const text = JSON.stringify(reported);
      const proofBy = (chain: IssuedCertificate, privateKey: KeyObject) => encodeRenewalProof({ chain: chainOf(chain), privateKey, csr: Buffer.from(text), audience: "east", nowMs: own.clock.nowMs, purpose: "report" });
      await own.ca.report({ report: text, proof: proofBy(issued, key) }, reported);
      const { proxies } = await own.ca.proxies({ isInView: () => true, ...all });
      expect(proxies).toEqual([{
        spiffeId: world, serialNumber: issued.serialNumber, authorityId: (await own.ca.authorities()).find(({ type }) => type === "issuer")!.id,
        notBefore: issued.notBefore, notAfter: issued.notAfter, reportedAt: reported.reportedAt, receivedAt: new Date(own.clock.nowMs).toISOString(), version: "1.2.3", revocationSequence: 4,
      }]);
      expect(await own.ca.proxies({ isInView: () => false, ...all })).toEqual({ proxies: [], total: 0, truncated: false });
      const renewed = await own.ca.issue({ csr: csr.csr, attestation: { type: "svid", proof: proofFor(issued, key, csr.der, own.clock.nowMs) } }, {});
      await own.ca.report({ report: text, proof: proofBy(renewed, renewedKey) }, reported);
      own.clock.nowMs += 1000;
      expect((await own.ca.proxies({ isInView: () => true, ...all })).proxies.map(({ serialNumber }) => serialNumber)).toEqual([renewed.serialNumber]);
    } finally {
      await own.close();
    }
  });
});

describe("a report of edges", () => {
  test.each([
    ["by another key", { key: newKey() }, "proof_refused"],
    ["with a proof over another text", { signed: "{}" }, "proof_refused"],
    ["with a proof for an acknowledgement", { purpose: "acknowledgement" }, "proof_refused"],
  ] as const)("%s is refused", async (_what, faults, code) => {
    await expect(send(edgesReport(edge()), faults)).rejects.toMatchObject({ name: "Refusal", code });
    expect(await seen()).toMatchObject({ edges: [], proxies: 0 });
  });

  test.each([
    ["inbound to another workload", { serverId: hello }],
    ["outbound from another workload", { direction: "outbound", clientId: hello, serverId: "spiffe://east/third" }],
  ] as const)("%s is refused: a workload speaks for itself only", async (_what, wrong) => {
    await expect(send(edgesReport(edge(), edge(wrong)))).rejects.toMatchObject({ code: "forbidden" });
    expect(await seen()).toMatchObject({ edges: [] });
  });

  test("that is hours old is refused", async () => {
    const report = { ...edgesReport(edge()), reportedAt: new Date(host.clock.nowMs - 3_600_000).toISOString() };
    await expect(send(report)).rejects.toMatchObject({ code: "invalid_request" });
  });

  test("is told by any replica until it is some minutes old, and replaces the one before it", async () => {
    await send(edgesReport(edge({ connections: 3 }), edge({ clientId: "", secured: false, reason: "plain_text" })));
    host.clock.nowMs += 1000;
    await send(edgesReport(edge({ connections: 2 })));
    expect(await seen()).toEqual({
      edges: [{
        clientId: hello, serverId: world, secured: true, protocols: ["http"], connections: 2, seenBy: ["server"], lastSeen: expect.any(String) as string,
      }],
      total: 1, unsecured: 0, proxies: 1, truncated: false,
    });
    host.clock.nowMs += 149_000;
    expect(await seen()).toMatchObject({ edges: [], proxies: 0 });
  });

  test("counts once for a proxy that has renewed since", async () => {
    await send(edgesReport(edge({ connections: 3 })));
    const key = newKey();
    const { csr, der } = newCsr(key);
    const issued = await host.ca.issue({ csr, attestation: { type: "svid", proof: proofFor(holder.issued, holder.key, der, host.clock.nowMs) } }, {});
    await send(edgesReport(edge({ connections: 4 })), { by: { issued, key } });
    expect(await seen()).toMatchObject({ edges: [{ connections: 4 }], proxies: 1 });
    holder = { issued, key };
  });

  test("is seen by whoever may see one of its ends", async () => {
    await send(edgesReport(edge(), edge({ clientId: "", secured: false, reason: "plain_text" })));
    host.clock.nowMs += 1000;
    expect(await host.ca.edges({ isInView: (id) => id === hello, ...all })).toMatchObject({ edges: [{ clientId: hello, serverId: world }], proxies: 0 });
    expect(await host.ca.edges({ isInView: (id) => id === "spiffe://east/other", ...all })).toEqual({ edges: [], total: 0, unsecured: 0, proxies: 0, truncated: false });
  });

  test("by a certificate that was revoked is refused", async () => {
    const other = await enrol("spiffe://east/revoked");
    await host.ca.revoke(other.issued.serialNumber, "superseded", host.admin);
    await expect(send(edgesReport(), { by: other })).rejects.toMatchObject({ code: "certificate_revoked" });
  });

  test("leaves no trace in the audit log", async () => {
    const before = (await host.store.checkpoint())?.size;
    await send(edgesReport(edge()));
    expect((await host.store.checkpoint())?.size).toBe(before);
  });
});
