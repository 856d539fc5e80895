import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { acknowledgedSequence } from "../../../ca/attestation/acknowledge.ts";
import { acknowledgedText, type HeldBundle } from "../../../ca/contract/acknowledgements.ts";
import type { IssuedCertificate } from "../../../ca/contract/certificates.ts";
import { encodeRenewalProof, type ProofPurpose } from "../../../ca/pki/renewal-proof.ts";
import { chainOf, newCsr, newKey, startTestCa, type TestCa } from "../../support/running-ca.ts";

let host: TestCa;
let holder: { readonly issued: IssuedCertificate; readonly key: ReturnType<typeof newKey> };
beforeAll(async () => {
  host = await startTestCa();
  holder = await enrol();
});
afterAll(() => host.close());

async function enrol(held: Partial<HeldBundle> = {}) {
  const key = newKey();
  const request = { csr: newCsr(key).csr, attestation: { type: "operator", spiffeId: "spiffe://east/a" }, ...held } as const;
  return { issued: await host.ca.issue(request, { caller: host.admin }), key };
}

function acknowledgement(faults: Partial<HeldBundle> & { readonly bound?: HeldBundle; readonly purpose?: ProofPurpose; readonly ageMs?: number; readonly key?: typeof holder.key } = {}) {
  const { feedEpoch, bundleSequence } = { ...holder.issued, ...faults };
  const proof = encodeRenewalProof({
    chain: chainOf(holder.issued), privateKey: faults.key ?? holder.key, csr: Buffer.from(acknowledgedText(faults.bound ?? { feedEpoch, bundleSequence })),
    audience: "east", nowMs: host.clock.nowMs - (faults.ageMs ?? 0), purpose: faults.purpose ?? "acknowledgement",
  });
  return { feedEpoch, bundleSequence, proof };
}

async function acknowledged(serialNumber: string): Promise<number> {
  return (await host.store.certificate(serialNumber))?.acknowledgedSequence ?? 0;
}

describe("acknowledging a bundle", () => {
  test.each([
    ["of another feed", { feedEpoch: "other" }, "bundle_unknown"],
    ["of the future", { bundleSequence: "2" }, "bundle_unknown"],
    ["with a proof bound to another one", { bound: { feedEpoch: "other", bundleSequence: "1" } }, "proof_refused"],
    ["with a proof made for a renewal", { purpose: "renewal" }, "proof_refused"],
    ["with an old proof", { ageMs: 6 * 60_000 }, "proof_refused"],
    ["with another key", { key: newKey() }, "proof_refused"],
  ] as const)("%s is refused and counts for nothing", async (_what, faults, code) => {
    await expect(host.ca.acknowledge(acknowledgement(faults))).rejects.toMatchObject({ name: "Refusal", code });
    expect(await acknowledged(holder.issued.serialNumber)).toBe(0);
  });

  test("counts for the certificate whose key proves it", async () => {
    const other = await enrol();
    await host.ca.acknowledge(acknowledgement());
    expect(await acknowledged(holder.issued.serialNumber)).toBe(1);
    expect(await acknowledged(other.issued.serialNumber)).toBe(0);
    const behind = await host.store.holdersBehind({ sequence: 1, nowMs: host.clock.nowMs, limit: 9 });
    expect(behind.map(({ serialNumber }) => serialNumber)).toEqual([other.issued.serialNumber]);
  });

  test("is refused for a certificate that was revoked", async () => {
    await host.ca.revoke(holder.issued.serialNumber, "superseded", host.admin);
    await expect(host.ca.acknowledge(acknowledgement())).rejects.toMatchObject({ code: "certificate_revoked" });
  });
});

describe("what a holder says it holds when it asks for a certificate", () => {
  test("is kept with the certificate", async () => {
    const { feedEpoch, bundleSequence } = holder.issued;
    expect(await acknowledged((await enrol({ feedEpoch, bundleSequence })).issued.serialNumber)).toBe(1);
  });

  test.each([
    ["nothing", {}],
    ["of another feed", { feedEpoch: "other", bundleSequence: "1" }],
    ["of the future", { bundleSequence: "2" }],
    ["beyond what a number holds", { bundleSequence: "99999999999999999999" }],
  ])("and %s counts for nothing, and costs nobody the certificate", async (_what, held) => {
    const { feedEpoch } = holder.issued;
    expect(await acknowledged((await enrol({ feedEpoch, ...held })).issued.serialNumber)).toBe(0);
  });
});

test("a sequence without its feed says nothing", () => {
  expect(acknowledgedSequence({ bundleSequence: "1" }, { feedEpoch: "", sequence: 1 })).toBeUndefined();
  expect(acknowledgedSequence({ feedEpoch: "", bundleSequence: "1" }, { feedEpoch: "", sequence: 1 })).toBe(1);
});
