import { describe, expect, test } from "vitest";
import { requestVerifier } from "../../../ca/attestation/signed-request.ts";

describe("acts signed by SVIDs", () => {
  test("are bounded for each identity, so that nobody takes the place of another; the refusal says when to come back", async () => {
    const rows = new Set<string>();
    const verifier = requestVerifier({
      store: {
        certificate: () => Promise.resolve(undefined),
        spendRequest: ({ spiffeId, nonce }) => Promise.resolve(rows.size < rows.add(`${spiffeId} ${nonce}`).size),
      },
      trustDomain: "east", bundle: () => { throw new Error("not asked for"); }, now: () => new Date(0),
    });
    const spend = (nonce: string, spiffeId: string) => verifier.spend({ nonce, proof: "" }, spiffeId);
    let refusal: unknown;
    let count = 0;
    for (; refusal === undefined && count < 10_000; count++) await spend(`n${count}`, "spiffe://east/loud").catch((error: unknown) => (refusal = error));
    expect(count).toBe(5_001);
    expect(refusal).toMatchObject({ code: "rate_limited", retryAfterSeconds: 1, message: expect.stringContaining("random part") });
    expect(rows.size).toBe(5_000);
    await spend("n0", "spiffe://east/quiet");
    await expect(spend("n0", "spiffe://east/quiet")).rejects.toMatchObject({ code: "proof_refused" });
  });
});
