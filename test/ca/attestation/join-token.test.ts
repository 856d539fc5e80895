import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { IssuedCertificate } from "../../../ca/contract/certificates.ts";
import type { CreatedToken } from "../../../ca/contract/tokens.ts";
import type { KeyObject } from "node:crypto";
import { testAuthority } from "../../support/test-ca.ts";
import { auditEvents, chainOf, dayMs, hourMs, newCsr, newKey, proofFor, startTestCa, type TestCa } from "../../support/running-ca.ts";
import { encodeRenewalProof } from "../../../ca/pki/renewal-proof.ts";

let host: TestCa;
beforeAll(async () => {
  host = await startTestCa();
});
afterAll(() => host.close());

const cart = "spiffe://east/ns/shop/sa/cart";
const start = async (spiffeId = cart): Promise<CreatedToken> => host.ca.createToken({ type: "join", spiffeId, dnsNames: ["cart.shop"] }, host.admin);

async function redeem(token: string): Promise<{ issued: IssuedCertificate; privateKey: KeyObject }> {
  const { csr, privateKey } = newCsr();
  return { issued: await host.ca.issue({ csr, attestation: { type: "join-token", token } }, {}), privateKey };
}

/** Comes back from scratch: the token, and a proof by the last key over a new CSR. */
async function comeBack(token: string, last: { issued: IssuedCertificate; privateKey: KeyObject }, proofAtMs = host.clock.nowMs) {
  const { csr, der, privateKey } = newCsr();
  const proof = proofFor(last.issued, last.privateKey, der, proofAtMs);
  return { issued: await host.ca.issue({ csr, attestation: { type: "join-token", token, proof } }, {}), privateKey };
}

describe("a join token", () => {
  test("gives the identity it was made for, and the certificate says which token it descends from", async () => {
    const created = await start();
    const { issued } = await redeem(created.token);
    expect(issued.spiffeId).toBe(cart);
    const row = await host.store.certificate(issued.serialNumber);
    expect(row).toMatchObject({ tokenId: created.id, dnsNames: ["cart.shop"], attestation: "join-token" });
    expect((await auditEvents(host.store))[issued.logIndex]).toMatchObject({ actor: `join-token:${created.id}` });
  });

  test("redeemed by 50 at once gives exactly one certificate", async () => {
    const { token } = await start();
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => redeem(token)));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const refused = outcomes.filter((outcome) => outcome.status === "rejected");
    expect(new Set(refused.map(({ reason }) => (reason as { code: string }).code))).toEqual(new Set(["token_already_redeemed"]));
  });

  test("is refused once it has expired", async () => {
    const { token } = await start();
    host.clock.nowMs += hourMs;
    await expect(redeem(token)).rejects.toMatchObject({ code: "token_expired" });
  });

  test.each([
    ["of another secret", (token: string) => token.slice(0, -3) + (token.endsWith("AAA") ? "EEE" : "AAA")],
    ["of another ID", (token: string) => token.replace(/_[0-9a-f]{16}_/, "_0123456789abcdef_")],
    ["that is no token", () => "hunter2"],
    ["that is an API token's string", (token: string) => token.replace("csjoin_", "csapi_")],
  ])("is refused as unknown when it is one %s", async (_claim, change) => {
    const { token } = await start();
    await expect(redeem(change(token))).rejects.toMatchObject({ code: "token_unknown" });
  });

  test("is refused as unknown when it was deleted", async () => {
    const { id, token } = await start();
    await host.ca.deleteToken(id, host.admin);
    await expect(redeem(token)).rejects.toMatchObject({ code: "token_unknown" });
    // Before anything else is looked at, though the commit would refuse it as well.
    await expect(host.ca.issue({ csr: "AAAA", attestation: { type: "join-token", token } }, {})).rejects.toMatchObject({ code: "token_unknown" });
  });

  test("and an API token's secret under a join token's prefix are two things", async () => {
    const api = await host.ca.createToken({ type: "api", name: "ci", role: "operator", scope: ["spiffe://east/*"] }, host.admin);
    await expect(redeem(api.token.replace("csapi_", "csjoin_"))).rejects.toMatchObject({ code: "token_unknown" });
  });
});

describe("a redeemed join token", () => {
  test("is worthless by itself", async () => {
    const { token } = await start();
    await redeem(token);
    await expect(redeem(token)).rejects.toMatchObject({ code: "token_already_redeemed" });
  });

  test("brings a workload back whose certificate expired during an outage, and again after the next one", async () => {
    const { token } = await start();
    let last = await redeem(token);
    for (let outage = 0; outage < 2; outage++) {
      host.clock.nowMs += 3 * dayMs;
      const { serialNumber } = last.issued;
      last = await comeBack(token, last);
      expect(last.issued.spiffeId).toBe(cart);
      expect(await host.store.certificate(last.issued.serialNumber)).toMatchObject({ renewedFrom: serialNumber });
    }
  });

  test("works with a certificate that descends from it through renewals", async () => {
    const { token } = await start();
    const first = await redeem(token);
    const next = newCsr();
    const proof = proofFor(first.issued, first.privateKey, next.der, host.clock.nowMs);
    const renewed = await host.ca.issue({ csr: next.csr, attestation: { type: "svid", proof } }, {});
    host.clock.nowMs += 2 * dayMs;
    expect((await comeBack(token, { issued: renewed, privateKey: next.privateKey })).issued.spiffeId).toBe(cart);
  });

  test("does not when the certificate expired longer ago than the grace", async () => {
    const { token } = await start();
    const last = await redeem(token);
    host.clock.nowMs += 31 * dayMs;
    await expect(comeBack(token, last)).rejects.toMatchObject({ code: "certificate_expired" });
  });

  test("does not when the certificate was revoked", async () => {
    const { token } = await start();
    const last = await redeem(token);
    host.clock.nowMs += 2 * dayMs;
    await host.ca.revoke(last.issued.serialNumber, "keyCompromise", host.admin);
    await expect(comeBack(token, last)).rejects.toMatchObject({ code: "certificate_revoked" });
  });

  test("does not with the certificate of another token, of the same workload even", async () => {
    const [one, other] = [await start(), await start()];
    await redeem(one.token);
    const last = await redeem(other.token);
    await expect(comeBack(one.token, last)).rejects.toMatchObject({ code: "proof_refused" });
  });

  test("does not when it was deleted", async () => {
    const { id, token } = await start();
    const last = await redeem(token);
    await host.ca.deleteToken(id, host.admin);
    await expect(comeBack(token, last)).rejects.toMatchObject({ code: "token_unknown" });
  });

  test("does not with a proof by another key", async () => {
    const { token } = await start();
    const last = await redeem(token);
    await expect(comeBack(token, { issued: last.issued, privateKey: newKey() })).rejects.toMatchObject({ code: "proof_refused" });
  });

  test("does not with a proof over another CSR", async () => {
    const { token } = await start();
    const last = await redeem(token);
    const proof = proofFor(last.issued, last.privateKey, newCsr().der, host.clock.nowMs);
    await expect(host.ca.issue({ csr: newCsr().csr, attestation: { type: "join-token", token, proof } }, {})).rejects.toMatchObject({ code: "proof_refused" });
  });

  test("honours one of two that come back at once", async () => {
    const { token } = await start();
    const last = await redeem(token);
    const outcomes = await Promise.allSettled([comeBack(token, last), comeBack(token, last)]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  test("does not with a chain that a stranger made for our names", async () => {
    const { token } = await start();
    await redeem(token);
    const fake = testAuthority({ trustDomain: "east" }).issuer().leaf({ spiffeId: cart });
    const { csr, der } = newCsr();
    const proof = encodeRenewalProof({ chain: fake.chain, privateKey: fake.privateKey, csr: der, audience: "east", nowMs: host.clock.nowMs });
    await expect(host.ca.issue({ csr, attestation: { type: "join-token", token, proof } }, {})).rejects.toMatchObject({ code: "proof_refused" });
    expect(chainOf((await redeem((await start()).token)).issued)).toHaveLength(2);
  });
});
