import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { readConfig } from "../../../proxy/config/config.ts";
import { testAuthority } from "../../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-platform-config-"));
afterAll(() => rmSync(folder, { recursive: true }));
const [one, two] = [testAuthority({ trustDomain: "old" }), testAuthority({ trustDomain: "old" })];
const rootsFile = join(folder, "roots.pem");
writeFileSync(rootsFile, one.pem + two.pem);
const place = ["--ca", "https://ca.example:8443", "--trust-domain", "east", "--root", rootsFile];
const kubernetes = ["--attest", "kubernetes", "--token-file", "/run/token", ...place];

describe("a platform that vouches", () => {
  test("stands in place of a bootstrap string", () => {
    expect(readConfig({ args: [...kubernetes, "--attestor", "west"] })).toMatchObject({
      bootstrap: undefined,
      platform: {
        caUrl: "https://ca.example:8443", trustDomain: "east", attestor: "west", evidence: { type: "kubernetes", tokenFile: "/run/token" },
        rootFingerprints: [one, two].map(({ der }) => parseCertificate(der).fingerprint),
      },
    });
  });

  test("knows the CA by fingerprints too", () => {
    const args = ["--attest", "oidc", "--token-file", "/run/token", "--ca", "https://ca.example:8443/", "--trust-domain", "east", "--root", "AB".repeat(32), "--root", "cd".repeat(32)];
    expect(readConfig({ args }).platform?.rootFingerprints).toEqual(["ab".repeat(32), "cd".repeat(32)]);
  });

  test("takes AWS's region and credentials from where AWS puts them, and nothing else of the environment", () => {
    const env = { AWS_REGION: "eu-central-1", AWS_ACCESS_KEY_ID: "ASIA", AWS_SECRET_ACCESS_KEY: "s", AWS_SESSION_TOKEN: "t", AWS_PROFILE: "p", HOME: "/" };
    const { evidence } = readConfig({ args: ["--attest", "aws-iam", ...place], env }).platform!;
    expect(evidence).toMatchObject({ region: "eu-central-1", endpoint: undefined, environment: { AWS_ACCESS_KEY_ID: "ASIA", AWS_SESSION_TOKEN: "t" } });
    expect(JSON.stringify(evidence)).not.toMatch(/HOME|AWS_PROFILE/);
  });

  test.each<[string, readonly string[], RegExp]>([
    ["without the CA", ["--attest", "kubernetes", "--token-file", "/run/token", "--trust-domain", "east", "--root", rootsFile], /^ca is refused/],
    ["without its trust domain", ["--attest", "kubernetes", "--token-file", "/run/token", "--ca", "https://ca", "--root", rootsFile], /^trustDomain is refused/],
    ["without anything that the CA is known by", ["--attest", "kubernetes", "--token-file", "/run/token", "--ca", "https://ca", "--trust-domain", "east"], /^root is refused/],
    ["over plain http", [...kubernetes.filter((arg) => !arg.startsWith("https")).join("\n").replace("--ca\n", "--ca\nhttp://ca\n").split("\n")], /write https/],
    ["without its token", ["--attest", "oidc", ...place], /^tokenFile is refused/],
    ["with the token itself", ["--attest", "oidc", "--token-file", "eyJhbGciOi", ...place], /that is a token/],
    ["with half a pair", ["--attest", "x509", "--cert-file", "/c", ...place], /^keyFile is refused/],
    ["with what another type has", [...kubernetes, "--key-file", "/k"], /^keyFile is refused: it says nothing with attest kubernetes/],
    ["without a region", ["--attest", "aws-iam", ...place], /^awsRegion is refused/],
    ["of an unknown type", ["--attest", "gcp", ...place], /choose one of/],
    ["with roots that are not there", ["--attest", "oidc", "--token-file", "/t", "--ca", "https://ca", "--trust-domain", "east", "--root", join(folder, "none")], /neither a SHA-256 in hex nor a file/],
    ["that is not named", place, /set attest too/],
  ])("%s is refused", (_claim, args, why) => {
    expect(() => readConfig({ args, env: {} })).toThrow(why);
  });

  test("and a bootstrap string exclude each other", () => {
    expect(() => readConfig({ args: kubernetes, env: { COUNTERSIGN_BOOTSTRAP: "countersign_join_x" } })).toThrow(/^bootstrap is refused/);
  });
});
