import { describe, expect, test } from "vitest";
import { importRoot } from "../../../ca/authority/import-root.ts";
import type { NewAuthority } from "../../../ca/authority/create.ts";
import { issueIssuer } from "../../../ca/authority/issue-authority.ts";
import { workloadProfile } from "../../../ca/issuance/profile.ts";
import { encodePem } from "../../../ca/pki/pem.ts";
import { softwareSigner } from "../../../ca/signer/software.ts";
import { openssl, opensslAvailable } from "../../support/openssl.ts";
import { dayMs, hourMs } from "../../support/running-ca.ts";
import {
  basicConstraints, extendedKeyUsage, keyUsage, testAuthority, testKey, testNowMs, type AuthorityOptions, type TestAuthority,
} from "../../support/test-ca.ts";

const issuerLifetimeMs = 48 * hourMs;
const ours = { passphrase: undefined, issuerLifetimeMs };
const keyPem = (authority: Pick<TestAuthority, "privateKey">): string => authority.privateKey.export({ format: "pem", type: "pkcs8" }).toString();

describe.skipIf(!opensslAvailable)("roots made by other tools", () => {
  const fit = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"];
  /** A key by one openssl command, and a root for it by `openssl req -x509`. */
  const made = (keyCommand: string, extra: readonly string[] = fit) => {
    const privateKeyPem = openssl(keyCommand.split(" ")).stdout;
    const request = ["req", "-x509", "-key", "key.pem", "-passin", "pass:horse", "-days", "30", "-subj", "/C=DE/O=Example/CN=my root", ...extra];
    return { privateKeyPem, certificatePem: openssl(request, { "key.pem": privateKeyPem }).stdout };
  };
  const p256 = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256";

  test.each([
    ["P-256, as openssl writes it", p256],
    ["P-256 in SEC1 behind its parameters", "ecparam -name prime256v1 -genkey"],
    ["P-384", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384"],
    ["RSA-2048 in PKCS#1", "genrsa -traditional 2048"],
    ["Ed25519", "genpkey -algorithm ED25519"],
  ])("%s: taken, and what is issued below it verifies", async (_kind, keyCommand) => {
    const files = made(keyCommand);
    const nowMs = Date.now();
    const root = importRoot({ ...ours, ...files, nowMs });
    const request = {
      trustDomain: "east", keyAlgorithm: "ec-p256", lifetimeMs: issuerLifetimeMs, clockSkewMs: 20_000, nowMs,
      profile: workloadProfile({ certificateLifetimeMs: dayMs, certificateLifetimeMaxMs: dayMs, clockSkewMs: 20_000 }),
    } as const;
    const { issuer } = await issueIssuer(request, withSigner(root));
    const verified = openssl(["verify", "-x509_strict", "-CAfile", "root.pem", "issuer.pem"], {
      "root.pem": encodePem("CERTIFICATE", root.certificate.der), "issuer.pem": encodePem("CERTIFICATE", issuer.certificate.der),
    });
    expect(verified.stdout).toContain("issuer.pem: OK");
  });

  test.each([
    ["PKCS#8", `${p256} -aes256 -pass pass:horse`, "BEGIN ENCRYPTED PRIVATE KEY"],
    ["PKCS#1 in the old form, which step still writes for SEC1", "genrsa -traditional -aes256 -passout pass:horse 2048", "Proc-Type: 4,ENCRYPTED"],
  ])("an encrypted key, %s, is taken with its passphrase, and refused without it or with another", (_kind, keyCommand, form) => {
    const files = made(keyCommand);
    expect(files.privateKeyPem).toContain(form);
    const nowMs = Date.now();
    expect(importRoot({ ...ours, ...files, nowMs, passphrase: "horse" }).certificate.subjectEmpty).toBe(false);
    expect(() => importRoot({ ...ours, ...files, nowMs })).toThrow(expect.objectContaining({ code: "root_key_passphrase" }));
    expect(() => importRoot({ ...ours, ...files, nowMs, passphrase: "wrong" })).toThrow(expect.objectContaining({ code: "root_key_passphrase" }));
  });

  test("the root of `openssl req -x509` without extensions of one's own lacks the key usage, and the refusal says how to make one", () => {
    const files = made(p256, []);
    expect(() => importRoot({ ...ours, ...files, nowMs: Date.now() })).toThrow(
      expect.objectContaining({ code: "root_key_usage", message: expect.stringContaining("-addext keyUsage=critical,keyCertSign") }),
    );
  });

  test("the shape of `step certificate create --profile root-ca` is taken: path length 1", () => {
    const root = testAuthority({ trustDomain: "step", pathLength: 1, spiffeId: null });
    expect(importRoot({ ...ours, certificatePem: root.pem, privateKeyPem: keyPem(root), nowMs: testNowMs }).certificate.basicConstraints?.pathLength).toBe(1);
  });
});

describe("a root is refused", () => {
  const faults: readonly [claim: string, code: string, options: AuthorityOptions][] = [
    ["that is not a CA", "root_not_ca", { extensions: { basicConstraints: basicConstraints(false), keyUsage: keyUsage([0]) } }],
    ["whose basic constraints are not critical", "root_not_ca", { extensions: { basicConstraints: basicConstraints(true, undefined, false) } }],
    ["without basic constraints", "root_not_ca", { extensions: { basicConstraints: null } }],
    ["without key usage", "root_key_usage", { extensions: { keyUsage: null } }],
    ["that may sign CRLs only", "root_key_usage", { extensions: { keyUsage: keyUsage([6]) } }],
    ["whose path length leaves no room for an issuer", "root_path_length", { pathLength: 0 }],
    ["without a subject key identifier", "root_key_identifier", { extensions: { subjectKeyIdentifier: null } }],
    ["that has expired", "root_expired", { notAfterMs: testNowMs - 1000 }],
    ["that ends before its first issuer would", "root_expires_too_soon", { notAfterMs: testNowMs + 47 * hourMs }],
    ["that is not valid yet", "root_not_yet_valid", { notBeforeMs: testNowMs + 60_000 }],
    ["signed by another key", "root_not_self_signed", { signWith: testKey().privateKey }],
    ["signed with SHA-1", "root_certificate_refused", { keyKind: "rsa-2048", digest: "sha1", innerAlgorithm: sha1WithRsa(), outerAlgorithm: sha1WithRsa() }],
    ["with RSA-1024", "root_certificate_refused", { keyKind: "rsa-1024" }],
  ];
  for (const [claim, code, options] of faults) {
    test(claim, () => {
      const root = testAuthority({ trustDomain: "east", ...options });
      expect(() => importRoot({ ...ours, certificatePem: root.pem, privateKeyPem: keyPem(root), nowMs: testNowMs })).toThrow(expect.objectContaining({ code }));
    });
  }

  test("that is an intermediate", () => {
    const intermediate = testAuthority({ trustDomain: "east" }).issuer({ pathLength: 1 });
    expect(() => importRoot({ ...ours, certificatePem: intermediate.pem, privateKeyPem: keyPem(intermediate), nowMs: testNowMs })).toThrow(
      expect.objectContaining({ code: "root_not_self_signed" }),
    );
  });

  test("with the key of another", () => {
    const [root, other] = [testAuthority({ trustDomain: "east" }), testAuthority({ trustDomain: "east" })];
    expect(() => importRoot({ ...ours, certificatePem: root.pem, privateKeyPem: keyPem(other), nowMs: testNowMs })).toThrow(
      expect.objectContaining({ code: "root_key_mismatch" }),
    );
  });

  test.each([
    ["no PEM", "root_certificate_unreadable", (pem: string) => pem.slice(30)],
    ["two certificates", "root_certificate_unreadable", (pem: string) => pem + pem],
  ])("whose file holds %s", (_claim, code, change) => {
    const root = testAuthority({ trustDomain: "east" });
    expect(() => importRoot({ ...ours, certificatePem: change(root.pem), privateKeyPem: keyPem(root), nowMs: testNowMs })).toThrow(expect.objectContaining({ code }));
  });

  test("whose key file holds none, and the message repeats nothing of it", () => {
    const root = testAuthority({ trustDomain: "east" });
    const attempt = () => importRoot({ ...ours, certificatePem: root.pem, privateKeyPem: "hunter2", nowMs: testNowMs });
    expect(attempt).toThrow(expect.objectContaining({ code: "root_key_unreadable" }));
    expect(attempt).not.toThrow(/hunter2/);
  });

  test.each([
    ["below which only servers are allowed", { extensions: { extendedKeyUsage: extendedKeyUsage(["1.3.6.1.5.5.7.3.1"]) } }],
    ["that has the ID of another trust domain's workload", { spiffeId: "spiffe://west/ca" }],
  ])("%s: found out when the first issuer is tried", async (_claim, options) => {
    const root = testAuthority({ trustDomain: "east", ...options });
    const imported = importRoot({ ...ours, certificatePem: root.pem, privateKeyPem: keyPem(root), nowMs: testNowMs });
    const request = {
      trustDomain: "east", keyAlgorithm: "ec-p256", lifetimeMs: issuerLifetimeMs, clockSkewMs: 20_000, nowMs: testNowMs,
      profile: workloadProfile({ certificateLifetimeMs: dayMs, certificateLifetimeMaxMs: dayMs, clockSkewMs: 20_000 }),
    } as const;
    await expect(issueIssuer(request, withSigner(imported))).rejects.toMatchObject({ code: "root_names_refused" });
  });
});

/** 1.2.840.113549.1.1.5 with NULL. */
function sha1WithRsa(): Uint8Array {
  return Buffer.from("300d06092a864886f70d0101050500", "hex");
}

function withSigner({ certificate, privateKey }: NewAuthority) {
  return { certificate, signer: softwareSigner(privateKey) };
}
