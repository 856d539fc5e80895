import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyPossession, type PossessionDeps } from "../../../ca/attestation/possession.ts";
import type { IssuedCertificate } from "../../../ca/contract/certificates.ts";
import { encodeRenewalProof } from "../../../ca/pki/renewal-proof.ts";
import { newCsr, newKey, proofFor, startTestCa, type TestCa } from "../../support/running-ca.ts";
import { testAuthority } from "../../support/test-ca.ts";

let host: TestCa;
beforeAll(async () => {
  host = await startTestCa();
});
afterAll(() => host.close());

/** Verifying a chain is dear and open to everybody: it begins by asking for the bundle. */
function possessionOf(proof: string, csrDer: Uint8Array) {
  let bundlesAsked = 0;
  const deps: PossessionDeps = {
    store: host.store, trustDomain: "east", now: () => new Date(host.clock.nowMs),
    bundle: () => {
      bundlesAsked += 1;
      throw new Error("the chain was looked at");
    },
  };
  return verifyPossession(deps, proof, csrDer, { graceMs: 0 }).catch(({ code }: { readonly code?: string }) => ({ code, bundlesAsked }));
}

test("what a stranger made is refused before its chain is verified", async () => {
  const fake = testAuthority({ trustDomain: "east" }).issuer().leaf({ spiffeId: "spiffe://east/ns/shop/sa/cart" });
  const { der } = newCsr();
  const proof = encodeRenewalProof({ chain: fake.chain, privateKey: fake.privateKey, csr: der, audience: "east", nowMs: host.clock.nowMs });
  expect(await possessionOf(proof, der)).toEqual({ code: "proof_refused", bundlesAsked: 0 });
});

test("so is what was revoked and what has expired; only what is on record is verified", async () => {
  const { der } = newCsr();
  const issue = (): Promise<IssuedCertificate> =>
    host.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/a" }, lifetimeSeconds: 60 }, { caller: host.admin });
  const [revoked, expired] = [await issue(), await issue()];
  await host.ca.revoke(revoked.serialNumber, "superseded", host.admin);
  const held = (issued: IssuedCertificate) => possessionOf(proofFor(issued, newKey(), der, host.clock.nowMs), der);
  expect(await held(revoked)).toEqual({ code: "certificate_revoked", bundlesAsked: 0 });
  expect(await held(expired)).toEqual({ code: undefined, bundlesAsked: 1 });
  host.clock.nowMs += 120_000;
  expect(await held(expired)).toEqual({ code: "certificate_expired", bundlesAsked: 0 });
});
