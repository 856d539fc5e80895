import { describe, expect, test } from "vitest";
import { parseCsr } from "../../../ca/pki/csr.ts";
import type { KeyAlgorithm } from "../../../ca/pki/key.ts";
import { parseRenewalProof, verifyRenewalProof } from "../../../ca/pki/renewal-proof.ts";
import { parseSpiffeId } from "../../../ca/pki/spiffe-id.ts";
import { prepareRequest, restoreRequest } from "../../../proxy/identity/request.ts";
import type { Identity } from "../../../proxy/identity/source.ts";
import { testAuthority, testNowMs } from "../../support/test-ca.ts";

const leaf = testAuthority({ trustDomain: "east" }).issuer().leaf();
const last: Identity = {
  id: parseSpiffeId("spiffe://east/workload"), chain: leaf.chain, chainPem: leaf.chainPem, privateKey: leaf.privateKey, serialNumber: leaf.serialNumber,
  notBeforeMs: testNowMs - 1000, notAfterMs: testNowMs + 1000,
};
const input = { keyAlgorithm: "ec-p256", lifetimeSeconds: undefined, trustDomain: "east", token: "t", last: undefined, nowMs: testNowMs } as const;

describe("a certificate request", () => {
  test("is for a new key of the kind that was asked for", async () => {
    for (const keyAlgorithm of ["ec-p256", "ec-p384", "ed25519", "rsa-2048"] satisfies KeyAlgorithm[]) {
      const prepared = await prepareRequest({ ...input, keyAlgorithm });
      expect(parseCsr(Buffer.from(prepared!.request.csr, "base64")).keyAlgorithm).toBe(keyAlgorithm);
    }
    const [one, other] = [await prepareRequest(input), await prepareRequest(input)];
    expect(one!.privateKey.equals(other!.privateKey)).toBe(false);
    expect(one!.idempotencyKey).not.toBe(other!.idempotencyKey);
  });

  test("asks for no name and no more than it was told to: names are the CA's to give", async () => {
    const prepared = await prepareRequest({ ...input, lifetimeSeconds: 90 });
    expect(parseCsr(Buffer.from(prepared!.request.csr, "base64"))).toMatchObject({ uriSans: [], dnsSans: [] });
    expect(prepared!.request.lifetimeSeconds).toBe(90);
    expect((await prepareRequest(input))!.request).not.toHaveProperty("lifetimeSeconds");
  });

  const attestations = [
    ["no certificate", undefined, "t", testNowMs, "join-token"],
    ["a valid certificate", last, "t", testNowMs, "svid"],
    ["a valid certificate and no token", last, undefined, testNowMs, "svid"],
    ["an expired certificate", last, "t", testNowMs + 2000, "join-token with proof"],
  ] as const;
  for (const [having, identity, token, nowMs, attestation] of attestations) {
    test(`with ${having} is attested by ${attestation}`, async () => {
      const prepared = await prepareRequest({ ...input, last: identity, token, nowMs });
      expect(prepared!.attestation).toBe(attestation);
      const { request } = prepared!;
      expect(request.attestation.type).toBe(attestation === "svid" ? "svid" : "join-token");
      const proof = "proof" in request.attestation ? request.attestation.proof : undefined;
      expect(proof === undefined).toBe(attestation === "join-token");
      // The current key vouches for exactly this request; it throws if not.
      if (proof !== undefined) verifyRenewalProof(parseRenewalProof(proof), last.privateKey, Buffer.from(request.csr, "base64"), "east");
    });
  }

  test("cannot be made with nothing to attest by", async () => {
    expect(await prepareRequest({ ...input, last, token: undefined, nowMs: testNowMs + 2000 })).toBeUndefined();
  });

  test("that was stored is the same again", async () => {
    const prepared = (await prepareRequest({ ...input, lifetimeSeconds: 90 }))!;
    const { request: { csr }, idempotencyKey, privateKey } = prepared;
    const restored = restoreRequest(
      { privateKeyPem: privateKey.export({ format: "pem", type: "pkcs8" }), csr, idempotencyKey }, { token: "t", lifetimeSeconds: 90, nowMs: testNowMs },
    );
    expect(restored.request).toEqual(prepared.request);
    expect(restored.privateKey.equals(privateKey)).toBe(true);
    expect(restored).toMatchObject({ idempotencyKey, attestation: "join-token" });
  });
});
