import { expect, test } from "vitest";
import { authorityRow } from "../../../ca/authority/active-issuer.ts";
import { createRoot } from "../../../ca/authority/create.ts";
import { intermediatesAbove, issuerSigner } from "../../../ca/authority/issuer-signer.ts";
import { softwareSigner } from "../../../ca/signer/software.ts";
import type { Sealing } from "../../../ca/signer/sealing.ts";
import { dayMs } from "../../support/running-ca.ts";

const nowMs = Date.UTC(2026, 0, 1);
const made = createRoot({ trustDomain: "east", keyAlgorithm: "ec-p256", lifetimeMs: 30 * dayMs, clockSkewMs: 0, nowMs });
const sealing = { seal: () => new Uint8Array() } as unknown as Sealing;
const root = authorityRow("root", made.certificate, made.privateKey, sealing, nowMs);
const signers = { signerFor: () => softwareSigner(made.privateKey) };

test("issuers for others are signed by the active intermediate, and by the root where there is none", () => {
  expect(issuerSigner([root], signers)).toMatchObject({ id: root.id, intermediates: "" });
  const both = issuerSigner([root, { ...root, id: "00", type: "intermediate" }], signers);
  expect(both).toMatchObject({ id: "00", intermediates: expect.stringContaining("BEGIN CERTIFICATE") });
  expect(issuerSigner([root, { ...root, id: "00", type: "intermediate", state: "prepared" }], signers).id).toBe(root.id);
});

test("what stands above a signature is found for an intermediate that was replaced, too", () => {
  const retiring = { ...root, id: "00", type: "intermediate", state: "retiring" } as const;
  expect(intermediatesAbove([root, retiring], "00")).toContain("BEGIN CERTIFICATE");
  expect(intermediatesAbove([root, retiring], root.id)).toBe("");
});

test.each([
  ["nothing is active", [{ ...root, state: "retiring" }]],
  ["the root's key is offline", [{ ...root, key: { kind: "offline" } }]],
] as const)("they are not signed where %s", (_claim, rows) => {
  expect(() => issuerSigner(rows, signers)).toThrow(expect.objectContaining({ code: "issuer_unavailable" }));
});
