import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { auditEvents, callerWith, dayMs, newCsr, proofFor, startTestCa, type TestCa } from "../../support/running-ca.ts";

let host: TestCa;
beforeAll(async () => {
  host = await startTestCa({ settings: { reattestGrace: "2d" } });
});
afterAll(() => host.close());

const issue = () =>
  host.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/cart" } }, { caller: host.admin });

async function issueWithKey() {
  const { csr, privateKey } = newCsr();
  const attestation = { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/cart" } as const;
  return { issued: await host.ca.issue({ csr, attestation }, { caller: host.admin }), privateKey };
}

async function renew({ issued, privateKey }: Awaited<ReturnType<typeof issueWithKey>>) {
  const next = newCsr();
  const proof = proofFor(issued, privateKey, next.der, host.clock.nowMs);
  return { issued: await host.ca.issue({ csr: next.csr, attestation: { type: "svid", proof } }, {}), privateKey: next.privateKey };
}

describe("revoking", () => {
  test("puts the certificate into the feed under a rising sequence, and the act into the log", async () => {
    const [one, two] = [await issue(), await issue()];
    const first = await host.ca.revoke(one.serialNumber, "keyCompromise", host.admin);
    const second = await host.ca.revoke(two.serialNumber, "superseded", host.admin);
    expect(second.sequence).toBeGreaterThan(first.sequence);
    const feed = await host.store.revocations({ after: 0, limit: 10 });
    expect(feed.map(({ sequence, serialNumber }) => [sequence, serialNumber])).toEqual([[first.sequence, one.serialNumber], [second.sequence, two.serialNumber]]);
    expect(first).toMatchObject({ reason: "keyCompromise", notAfter: one.notAfter });
    expect((await auditEvents(host.store))[first.sequence - 1]).toMatchObject({ type: "certificate.revoked", serialNumber: one.serialNumber, reason: "keyCompromise" });
  });

  test("for a compromised key takes along what was renewed with it, whoever did; for another reason it does not", async () => {
    const stolen = await issueWithKey();
    const unrelated = await issueWithKey();
    const byThief = await renew(stolen);
    const children = [byThief, await renew(byThief), await renew(stolen)];
    const { sequence } = await host.ca.revoke(stolen.issued.serialNumber, "keyCompromise", callerWith({ scope: ["spiffe://east/ns/shop/*"] }));
    const serials = [stolen, ...children].map(({ issued }) => issued.serialNumber);
    const feed = await host.store.revocations({ after: sequence - 1, limit: 10 });
    expect(feed.map(({ serialNumber, reason }) => [serialNumber, reason])).toEqual(serials.map((serial) => [serial, "keyCompromise"]));
    expect((await auditEvents(host.store)).slice(sequence - 1)).toMatchObject(serials.map((serialNumber) => (
      { type: "certificate.revoked", actor: "token:1111111111111111", serialNumber, spiffeId: "spiffe://east/ns/shop/sa/cart", reason: "keyCompromise" }
    )));
    for (const child of children) await expect(renew(child)).rejects.toMatchObject({ code: "certificate_revoked" });
    const next = await renew(unrelated);
    await host.ca.revoke(unrelated.issued.serialNumber, "superseded", host.admin);
    expect((await renew(next)).issued.serialNumber).toBeDefined();
  });

  test("for a compromised key reaches past what expired, and leaves what can prove nothing any more", async () => {
    const stolen = await issueWithKey();
    let last = stolen;
    const renewals = [];
    for (let day = 0; day < 6; day++) {
      host.clock.nowMs += 0.9 * dayMs;
      await host.ca.tick();
      renewals.push(last = await renew(last));
    }
    const { sequence } = await host.ca.revoke(stolen.issued.serialNumber, "keyCompromise", host.admin);
    const revoked = (await host.store.revocations({ after: sequence, limit: 100 })).map(({ serialNumber }) => serialNumber);
    const graceMs = 2 * dayMs;
    expect(revoked).toEqual(renewals.filter(({ issued }) => Date.parse(issued.notAfter) + graceMs >= host.clock.nowMs).map(({ issued }) => issued.serialNumber));
    expect(revoked.length).toBeLessThan(renewals.length);
    expect(revoked.at(-1)).toBe(last.issued.serialNumber);
  });

  test("is open to an operator for the identities in its scope", async () => {
    const { serialNumber } = await issue();
    await expect(host.ca.revoke(serialNumber, "unspecified", callerWith({ scope: ["spiffe://east/ns/bank/*"] }))).rejects.toMatchObject({ code: "forbidden" });
    await host.ca.revoke(serialNumber, "unspecified", callerWith({ scope: ["spiffe://east/ns/shop/*"] }));
  });

  test("of an issuer for another CA is open to an operator that may have them signed for its trust domain, and to no other", async () => {
    const { serialNumber } = await host.ca.issueIssuer({ csr: newCsr().csr, profile: "istio", trustDomain: "west" }, host.admin);
    for (const caller of [callerWith({ scope: ["spiffe://east/*"] }), callerWith({ issuerScope: ["south"] })]) {
      await expect(host.ca.revoke(serialNumber, "unspecified", caller)).rejects.toMatchObject({ code: "forbidden" });
    }
    expect((await host.ca.revoke(serialNumber, "cACompromise", callerWith({ issuerScope: ["west"] }))).serialNumber).toBe(serialNumber);
  });

  test("is not open to an auditor", async () => {
    const { serialNumber } = await issue();
    await expect(host.ca.revoke(serialNumber, "unspecified", callerWith({ role: "auditor", scope: ["spiffe://east/*"] }))).rejects.toMatchObject({ code: "forbidden" });
  });

  test("twice is refused, by two at once as well", async () => {
    const { serialNumber } = await issue();
    const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => host.ca.revoke(serialNumber, "unspecified", host.admin)));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    await expect(host.ca.revoke(serialNumber, "unspecified", host.admin)).rejects.toMatchObject({ code: "already_revoked" });
  });

  test("what this CA did not issue is refused", async () => {
    await expect(host.ca.revoke("00".repeat(16), "unspecified", host.admin)).rejects.toMatchObject({ code: "not_found" });
  });

  test("an authority is refused, by its ID and by its serial number", async () => {
    for (const { id, certificate } of await host.store.authorities()) {
      for (const name of [id, parseCertificate(certificate).serialNumber]) {
        await expect(host.ca.revoke(name, "cACompromise", host.admin)).rejects.toMatchObject({ code: "certificate_not_revocable" });
      }
    }
  });

  test("works after the certificate expired, since its holder could come back with its join token", async () => {
    const { serialNumber } = await issue();
    host.clock.nowMs += 2 * dayMs;
    expect((await host.ca.revoke(serialNumber, "keyCompromise", host.admin)).serialNumber).toBe(serialNumber);
  });
});
