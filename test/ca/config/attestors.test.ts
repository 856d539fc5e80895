import { describe, expect, test } from "vitest";
import { parseAttestors } from "../../../ca/config/attestors.ts";

function faultsOf(attestors: unknown): string {
  const faults: string[] = [];
  parseAttestors(JSON.stringify(attestors), "east", faults);
  return faults.join("; ");
}

const cluster = { type: "kubernetes", api: "https://10.0.0.1:6443", tokenFile: "/token", caFile: "/ca.pem" };
const github = { type: "oidc", issuer: "https://token.actions.example", when: { repository: "acme/*" }, spiffeId: "spiffe://east/ci/{+repository}" };
const aws = { type: "aws-iam", regions: ["eu-central-1"], when: { account: "123456789012" } };

describe("the setting attestors", () => {
  test("takes several clusters, issuers, accounts and PKIs by name", () => {
    expect(faultsOf({ one: cluster, two: { ...cluster, renew: "attest" }, github, aws, old: { type: "x509", anchorsFile: "/a.pem", spiffeId: "spiffe://east/old/{commonName}" } })).toBe("");
  });

  test("takes rules, of which the first that fits counts", () => {
    const faults: string[] = [];
    const [one] = parseAttestors(JSON.stringify({ one: { ...cluster, rules: [{ when: { namespace: ["shop"] }, spiffeId: "spiffe://east/shop/{serviceAccount}" }, { spiffeId: "spiffe://east/rest/{namespace}" }] } }), "east", faults);
    expect(faults).toEqual([]);
    expect(one?.rules.map(({ spiffeId }) => spiffeId.text)).toEqual(["spiffe://east/shop/{serviceAccount}", "spiffe://east/rest/{namespace}"]);
  });

  test("has by default the CA's own trust domain as audience, so that a token for one CA is none for the next", () => {
    expect(parseAttestors(JSON.stringify({ one: cluster }), "east", [])[0]).toMatchObject({ audience: "spiffe://east" });
  });

  test.each([
    ["a type that nobody knows", { one: { type: "azure" } }, /none of kubernetes/],
    ["a name with a slash", { "a/b": cluster }, /no name/],
    ["a slip of the pen", { one: { ...cluster, tokenfile: "/x" } }, /did you mean tokenFile/],
    ["an OIDC issuer without a condition", { github: { ...github, when: undefined } }, /everybody/],
    ["a rule of an OIDC issuer without one", { github: { ...github, when: undefined, spiffeId: undefined, rules: [{ when: { sub: "x" }, spiffeId: "spiffe://east/a" }, { spiffeId: "spiffe://east/b" }] } }, /everybody/],
    ["AWS without an account", { aws: { ...aws, when: { role: "web" } } }, /no account/],
    ["AWS without regions", { aws: { ...aws, regions: [] } }, /region/],
    ["a region that is a host", { aws: { ...aws, regions: ["evil.example/eu-central-1"] } }, /region/],
    ["an issuer without TLS", { github: { ...github, issuer: "http://token.actions.example" } }, /https/],
    ["an API without TLS", { one: { ...cluster, api: "http://10.0.0.1" } }, /https/],
    ["neither", { one: { type: "kubernetes" } }, /or issuer/],
    ["a star after a letter", { github: { ...github, when: { repository: "acme*" } } }, /star/],
    ["a star in the middle", { github: { ...github, when: { repository: "acme/*/main" } } }, /star/],
    ["an empty condition", { github: { ...github, when: { repository: [] } } }, /neither/],
    ["a fact that tokens of a cluster do not have", { one: { ...cluster, when: { name: "x" } } }, /there are namespace/],
    ["another trust domain", { one: { ...cluster, spiffeId: "spiffe://west/x" } }, /must begin/],
    ["no template, for OIDC", { github: { ...github, spiffeId: undefined } }, /no text/],
    ["two places of keys", { github: { ...github, keysUrl: "https://x.example/keys", keysFile: "/k" } }, /exclude/],
    ["renewals of an unknown kind", { one: { ...cluster, renew: "never" } }, /renew/],
  ])("is refused with %s", (_claim, attestors, fault) => {
    expect(faultsOf(attestors)).toMatch(fault);
  });
});
