import { createPublicKey } from "node:crypto";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { authorityRow, unsealAuthority } from "../../../ca/authority/active-issuer.ts";
import { authorityDraft } from "../../../ca/authority/change.ts";
import { intermediateTbs } from "../../../ca/authority/create.ts";
import type { AuthorityCommand } from "../../../ca/contract/authorities.ts";
import { signCertificate } from "../../../ca/issuance/sign.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { signatureAlgorithmFor } from "../../../ca/pki/key.ts";
import { loadSealing } from "../../../ca/signer/sealing.ts";
import { softwareSigner } from "../../../ca/signer/software.ts";
import { chainOf, dayMs, newCsr, newKey, startTestCa, type TestCa } from "../../support/running-ca.ts";

let host: TestCa;
let rootIsOffline: boolean;
beforeEach(async () => {
  rootIsOffline = false;
  host = await startTestCa({
    wrapStore: (store) => ({
      ...store,
      authorities: async () => (await store.authorities()).map((row) => (rootIsOffline && row.type === "root" ? { ...row, key: { kind: "offline" } as const } : row)),
    }),
  });
  await addIntermediate();
  await operate({ action: "rotate", type: "issuer" });
});
afterEach(() => host.close());

/** Certified by the root as in a ceremony: active where there is none, otherwise prepared. */
async function addIntermediate(): Promise<void> {
  const rows = await host.store.authorities();
  const root = rows.find(({ type }) => type === "root")!;
  const sealing = loadSealing({ sealingKey: undefined, sealingKeyPath: join(host.dataDir, "sealing.key") }, { create: false });
  rootIsOffline = false;
  const { certificate, privateKey } = unsealAuthority((await host.store.authorities()).find(({ type }) => type === "root")!, sealing);
  const [key, signer, nowMs] = [newKey(), softwareSigner(privateKey), host.clock.nowMs];
  const request = { trustDomain: "east", keyAlgorithm: "ec-p256", lifetimeMs: 90 * dayMs, clockSkewMs: 20_000, nowMs } as const;
  const tbs = intermediateTbs(request, createPublicKey(key).export({ format: "der", type: "spki" }), certificate);
  const der = await signCertificate(signer, tbs, signatureAlgorithmFor(signer.keyAlgorithm));
  const draft = authorityDraft({ actor: "system", nowMs, bundleSequence: 1 });
  draft.create(authorityRow("intermediate", parseCertificate(der), key, sealing, nowMs, root.id));
  await host.store.commit(draft.act());
}

const operate = (command: AuthorityCommand) => host.ca.operateAuthority(command, host.admin);
const issue = () => host.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/web" } }, { caller: host.admin });
const active = async (type: string) => (await host.store.authorities()).find((row) => row.type === type && row.state === "active");

describe("the only intermediate, tainted,", () => {
  test("leaves its work to a root that can sign: the next issuer is the root's", async () => {
    const intermediate = (await active("intermediate"))!;
    expect(chainOf(await issue())).toHaveLength(3);
    await operate({ action: "taint", id: intermediate.id });
    expect(await active("intermediate")).toBeUndefined();
    expect((await active("issuer"))?.parentId).toBe((await active("root"))!.id);
    expect(chainOf(await issue())).toHaveLength(2);
    await operate({ action: "revoke", id: intermediate.id, force: true });
  });

  test("below an offline root is held back, and what to run is named", async () => {
    rootIsOffline = true;
    const { id } = (await active("intermediate"))!;
    await expect(operate({ action: "taint", id })).rejects.toMatchObject({ code: "authority_held_back", message: expect.stringContaining("countersign ceremony request intermediate") });
    expect((await active("intermediate"))?.id).toBe(id);
  });

  test("below an offline root, and forced, signs nothing more; nothing is issued until another one is here", async () => {
    rootIsOffline = true;
    const { id } = (await active("intermediate"))!;
    await operate({ action: "taint", id, force: true });
    expect(await active("issuer")).toBeUndefined();
    await expect(issue()).rejects.toMatchObject({ code: "issuer_unavailable" });
    await addIntermediate();
    rootIsOffline = true;
    await host.ca.tick();
    expect(chainOf(await issue())).toHaveLength(3);
    expect((await active("issuer"))?.parentId).not.toBe(id);
  });
});
