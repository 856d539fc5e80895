import { expect, test } from "vitest";
import type { AuditEvent } from "../../../ca/audit/event.ts";
import { activateIssuer } from "../../../ca/authority/active-issuer.ts";
import { createIssuer, createRoot } from "../../../ca/authority/create.ts";
import { certificateIssuer, type IssuerDeps } from "../../../ca/issuance/issue.ts";
import { workloadProfile } from "../../../ca/issuance/profile.ts";
import { softwareSigner } from "../../../ca/signer/software.ts";
import { callerWith, dayMs, newCsr } from "../../support/running-ca.ts";

test("what breaks a rule is neither signed nor stored, and the audit log has the rules and no CSR", async () => {
  const nowMs = Date.UTC(2026, 0, 1);
  const request = { trustDomain: "east", keyAlgorithm: "ec-p256", lifetimeMs: 30 * dayMs, clockSkewMs: 20_000, nowMs } as const;
  const root = createRoot(request);
  const { certificate, privateKey } = await createIssuer({ ...request, lifetimeMs: 2 * dayMs }, { certificate: root.certificate, signer: softwareSigner(root.privateKey) });
  const profile = workloadProfile({ certificateLifetimeMs: dayMs, certificateLifetimeMaxMs: dayMs, clockSkewMs: 20_000 });
  const active = activateIssuer(certificate, privateKey, profile, "east");
  let signatures = 0;
  const signer = { ...active.signer, sign: (data: Uint8Array) => ((signatures += 1), active.signer.sign(data)) };
  const recorded: [AuditEvent, string][] = [];
  const issuer = certificateIssuer({
    trustDomain: "east", reservedDnsNames: new Set<string>(), reattestGraceMs: 0, now: () => new Date(nowMs), profileOf: () => profile,
    store: { commit: () => Promise.reject(new Error("nothing may be committed")) } as unknown as IssuerDeps["store"],
    keeper: { current: () => ({ keyFingerprints: new Set() }), issuerUntil: () => ({ ...active, signer }) } as unknown as IssuerDeps["keeper"],
    bundle: () => { throw new Error("not asked for"); },
    metrics: {} as IssuerDeps["metrics"],
    feedEpoch: "0", hasRole: () => false,
    limits: { anonymous: () => undefined, workload: () => undefined } as unknown as IssuerDeps["limits"],
    nextSerial: () => Uint8Array.of(0, ...new Uint8Array(15).fill(1)),
    denials: { record: (event, actor) => void recorded.push([event, actor]), close: () => Promise.resolve() },
  });
  const caller = callerWith({ scope: ["spiffe://east/*"] });
  const { csr } = newCsr();
  const issued = issuer.issue({ csr, attestation: { type: "operator", spiffeId: "spiffe://east/a" } }, { caller });

  await expect(issued).rejects.toMatchObject({ code: "lint_failed" });
  expect(signatures).toBe(0);
  expect(recorded).toEqual([[
    {
      type: "lint.failed", artefact: "certificate", kind: "workload", spiffeId: "spiffe://east/a",
      rules: expect.arrayContaining([{ id: "CERT-02", citation: "RFC 5280 4.1.2.2, CABF BR 7.1", detail: "the serial number has less than 128 random bits" }]),
    },
    caller.actor,
  ]]);
  expect(JSON.stringify(recorded)).not.toContain(csr.slice(0, 40));
});
