import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadSealing } from "../../../ca/signer/sealing.ts";
import { activateIssuer, unsealAuthority } from "../../../ca/authority/active-issuer.ts";
import { encodeRenewalProof } from "../../../ca/pki/renewal-proof.ts";
import { readConfig } from "../../../ca/config/config.ts";
import { signCertificate } from "../../../ca/issuance/sign.ts";
import { workloadProfile } from "../../../ca/issuance/profile.ts";
import { serialNumbers } from "../../../ca/issuance/serial.ts";
import { subjectKeyIdentifier } from "../../../ca/pki/key.ts";
import type { IssuedCertificate } from "../../../ca/contract/certificates.ts";
import { dayMs, newCsr, newKey, proofFor, startTestCa, type TestCa } from "../../support/running-ca.ts";
import { testAuthority } from "../../support/test-ca.ts";

let host: TestCa;
beforeAll(async () => {
  host = await startTestCa();
});
afterAll(() => host.close());

const cart = "spiffe://east/ns/shop/sa/cart";

async function holder(): Promise<{ issued: IssuedCertificate; privateKey: KeyObject }> {
  const { csr, privateKey } = newCsr();
  const attestation = { type: "operator", spiffeId: cart, dnsNames: ["cart.shop"] } as const;
  return { issued: await host.ca.issue({ csr, attestation }, { caller: host.admin }), privateKey };
}

describe("renewal with the current SVID", () => {
  test("carries SPIFFE ID and DNS names over to a new key", async () => {
    const { issued, privateKey } = await holder();
    const next = newCsr();
    const proof = proofFor(issued, privateKey, next.der, host.clock.nowMs);
    const renewed = await host.ca.issue({ csr: next.csr, attestation: { type: "svid", proof } }, {});
    expect(await host.store.certificate(renewed.serialNumber)).toMatchObject({ spiffeId: cart, dnsNames: ["cart.shop"], attestation: "svid", renewedFrom: issued.serialNumber });
  });

  test("works until the last second and not in the next", async () => {
    const { issued, privateKey } = await holder();
    const renew = () => {
      const next = newCsr();
      return host.ca.issue({ csr: next.csr, attestation: { type: "svid", proof: proofFor(issued, privateKey, next.der, host.clock.nowMs) } }, {});
    };
    host.clock.nowMs = Date.parse(issued.notAfter) + 999;
    await renew();
    host.clock.nowMs += 1;
    await expect(renew()).rejects.toMatchObject({ code: "certificate_expired" });
  });

  test("is refused once the certificate is revoked", async () => {
    const { issued, privateKey } = await holder();
    await host.ca.revoke(issued.serialNumber, "superseded", host.admin);
    const { csr, der } = newCsr();
    const proof = proofFor(issued, privateKey, der, host.clock.nowMs);
    await expect(host.ca.issue({ csr, attestation: { type: "svid", proof } }, {})).rejects.toMatchObject({ code: "certificate_revoked" });
  });

  test("is refused when the certificate is revoked between the check and the commit", async () => {
    let before: (() => Promise<unknown>) | undefined;
    const raced = await startTestCa({
      wrapStore: (store) => ({
        ...store,
        async commit(act) {
          const run = act.kind === "issue" ? before : undefined;
          if (run !== undefined) before = undefined;
          await run?.();
          return store.commit(act);
        },
      }),
    });
    try {
      const { csr, privateKey } = newCsr();
      const issued = await raced.ca.issue({ csr, attestation: { type: "operator", spiffeId: cart } }, { caller: raced.admin });
      before = () => raced.ca.revoke(issued.serialNumber, "superseded", raced.admin);
      const next = newCsr();
      const proof = proofFor(issued, privateKey, next.der, raced.clock.nowMs);
      await expect(raced.ca.issue({ csr: next.csr, attestation: { type: "svid", proof } }, {})).rejects.toMatchObject({ code: "certificate_revoked" });
      expect(await raced.store.certificates({ spiffeId: cart, limit: 9, nowMs: 0 })).toHaveLength(1);
    } finally {
      await raced.close();
    }
  });

  test.each([
    ["the proof is six minutes old", -6 * 60_000],
    ["the proof is from six minutes ahead", 6 * 60_000],
  ])("is refused when %s", async (_claim, skewMs) => {
    const { issued, privateKey } = await holder();
    const { csr, der } = newCsr();
    const proof = proofFor(issued, privateKey, der, host.clock.nowMs + skewMs);
    await expect(host.ca.issue({ csr, attestation: { type: "svid", proof } }, {})).rejects.toMatchObject({ code: "proof_refused" });
  });

  test("is refused when the proof is meant for another CA", async () => {
    const { issued, privateKey } = await holder();
    const { csr, der } = newCsr();
    const proof = proofFor(issued, privateKey, der, host.clock.nowMs, "west");
    await expect(host.ca.issue({ csr, attestation: { type: "svid", proof } }, {})).rejects.toMatchObject({ code: "proof_refused" });
  });

  test("is refused when another key made the proof", async () => {
    const { issued } = await holder();
    const { csr, der } = newCsr();
    const proof = proofFor(issued, newKey(), der, host.clock.nowMs);
    await expect(host.ca.issue({ csr, attestation: { type: "svid", proof } }, {})).rejects.toMatchObject({ code: "proof_refused" });
  });

  test("is refused for a chain below another root, also one that claims our names", async () => {
    for (const trustDomain of ["east", "west"]) {
      const fake = testAuthority({ trustDomain }).issuer().leaf({ spiffeId: `spiffe://${trustDomain}/ns/shop/sa/cart` });
      const { csr, der } = newCsr();
      const proof = encodeRenewalProof({ chain: fake.chain, privateKey: fake.privateKey, csr: der, audience: "east", nowMs: host.clock.nowMs });
      await expect(host.ca.issue({ csr, attestation: { type: "svid", proof } }, {})).rejects.toMatchObject({ code: "proof_refused" });
    }
  });

  test.each([
    ["a certificate that our issuer signed and our store does not know", undefined],
    ["another certificate under a serial number that our store knows", holder],
  ])("is refused for %s", async (_claim, known) => {
    const serialNumber = known === undefined ? serialNumbers()(Date.now()) : Buffer.from((await known()).issued.serialNumber, "hex");
    const sealing = loadSealing({ sealingKey: undefined, sealingKeyPath: join(host.dataDir, "sealing.key") }, { create: false });
    const row = (await host.store.authorities()).find(({ type, state }) => type === "issuer" && state === "active")!;
    const { certificate, privateKey: issuerKey } = unsealAuthority(row, sealing);
    const stolen = activateIssuer(certificate, issuerKey, workloadProfile(readConfig({})), "east");
    const privateKey = newKey();
    const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
    const secondMs = Math.floor(host.clock.nowMs / 1000) * 1000;
    const leaf = await signCertificate(stolen.signer, stolen.encodeAndLint({
      serialNumber, notBeforeMs: secondMs, notAfterMs: secondMs + 60_000, spki, subjectKeyIdentifier: subjectKeyIdentifier(spki), uri: cart, dnsNames: [],
    }), stolen.signatureAlgorithm);
    const { csr, der } = newCsr();
    const proof = encodeRenewalProof({ chain: [leaf, certificate.der], privateKey, csr: der, audience: "east", nowMs: host.clock.nowMs });
    await expect(host.ca.issue({ csr, attestation: { type: "svid", proof } }, {})).rejects.toMatchObject({ code: "proof_refused", message: expect.stringContaining("on record") });
  });

  test("is refused for the CA's own identity", async () => {
    await host.ca.tick();
    const { key, chain } = host.ca.apiCredentials();
    const { csr, der } = newCsr();
    const proof = proofFor({ chain }, createPrivateKey(key), der, host.clock.nowMs);
    await expect(host.ca.issue({ csr, attestation: { type: "svid", proof } }, {})).rejects.toMatchObject({ code: "spiffe_id_refused" });
  });

  test("is refused for what is no proof", async () => {
    await expect(host.ca.issue({ csr: newCsr().csr, attestation: { type: "svid", proof: "a.b.c" } }, {})).rejects.toMatchObject({ code: "proof_refused" });
  });

  test("goes on across a change of the issuer", async () => {
    let { issued, privateKey } = await holder();
    for (let day = 0; day < 4; day++) {
      host.clock.nowMs += 0.6 * dayMs;
      await host.ca.tick();
      const next = newCsr();
      issued = await host.ca.issue({ csr: next.csr, attestation: { type: "svid", proof: proofFor(issued, privateKey, next.der, host.clock.nowMs) } }, {});
      privateKey = next.privateKey;
    }
    expect((await host.ca.authorities()).filter(({ type }) => type === "issuer").length).toBeGreaterThan(1);
  });
});

