import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parseRenewalProof, verifyRenewalProof } from "../../../ca/pki/renewal-proof.ts";
import { evidenceOf } from "../../../proxy/attest/evidence.ts";
import type { EvidenceConfig } from "../../../proxy/config/platform.ts";
import { testAuthority, testNowMs } from "../../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-evidence-"));
afterAll(() => rmSync(folder, { recursive: true }));
const evidence = (config: EvidenceConfig, attestor?: string) =>
  evidenceOf({ caUrl: "https://ca", trustDomain: "east", rootFingerprints: [], attestor, evidence: config }, () => testNowMs);
const csr = Buffer.from("the octets of a CSR");
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

describe("a token in a file", () => {
  test("is read at each use, as kubelets replace it", async () => {
    const tokenFile = file("token", "one\n");
    const { attest, isCurrent } = evidence({ type: "kubernetes", tokenFile }, "west");
    const first = await attest(csr);
    expect(first).toEqual({ type: "kubernetes", attestor: "west", token: "one" });
    expect(await isCurrent(first, 3_600_000)).toBe(true);
    renameSync(file("token.new", "two\n"), tokenFile);
    expect(await isCurrent(first, 0)).toBe(false);
    expect(await attest(csr)).toEqual({ type: "kubernetes", attestor: "west", token: "two" });
  });

  test.each<[string, string, RegExp]>([["of two lines", "a\nb", /not one line/], ["of nothing", "", /not one line/], ["too long", "a".repeat(20_000), /not one line/]])("%s goes nowhere", async (_claim, text, why) => {
    await expect(evidence({ type: "oidc", tokenFile: file("odd", text) }).attest(csr)).rejects.toMatchObject({ name: "EvidenceError", message: expect.stringMatching(why) as string });
  });

  test("that is not there is named", async () => {
    await expect(evidence({ type: "oidc", tokenFile: join(folder, "none") }).attest(csr)).rejects.toThrow(/none cannot be read \(ENOENT\)/);
  });
});

describe("a certificate of another PKI", () => {
  const leaf = testAuthority({ trustDomain: "old" }).issuer().leaf();
  const certFile = file("cert.pem", leaf.chainPem);

  test("proves itself by its key over the CSR, for this CA, and for attestation alone", async () => {
    const { attest, isCurrent } = evidence({ type: "x509", certFile, keyFile: file("key.pem", leaf.privateKeyPem) });
    const attestation = await attest(csr);
    if (attestation.type !== "x509") throw new Error("not x509");
    const proof = parseRenewalProof(attestation.proof, "attestation");
    verifyRenewalProof(proof, leaf.privateKey, csr, "east");
    expect(() => parseRenewalProof(attestation.proof, "renewal")).toThrow();
    expect(await isCurrent(attestation, 1000)).toBe(true);
    expect(await isCurrent(attestation, 60_000)).toBe(false);
  });

  test("whose key is another one's, or none, is not sent, and the message shows nothing of it", async () => {
    const other = testAuthority({ trustDomain: "old" }).leaf();
    await expect(evidence({ type: "x509", certFile, keyFile: file("other.pem", other.privateKeyPem) }).attest(csr)).rejects.toThrow(/is not the key of/);
    await expect(evidence({ type: "x509", certFile, keyFile: file("none.pem", "hunter2") }).attest(csr)).rejects.toThrow(expect.not.stringContaining("hunter2") as string);
  });
});

test("an AWS identity is signed for this CA and this CSR", async () => {
  const environment = { AWS_ACCESS_KEY_ID: "ASIATEST0COUNTERSIGN", AWS_SECRET_ACCESS_KEY: "hunter2", AWS_SESSION_TOKEN: "session" } as never;
  const attestation = await evidence({ type: "aws-iam", region: "eu-central-1", endpoint: undefined, environment }).attest(csr);
  expect(attestation).toMatchObject({ type: "aws-iam", region: "eu-central-1", sessionToken: "session", authorization: expect.stringContaining("countersign-csr;countersign-trust-domain;host;") as string });
  expect(JSON.stringify(attestation)).not.toContain("hunter2");
});
