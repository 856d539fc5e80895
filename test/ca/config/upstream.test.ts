import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readConfig } from "../../../ca/config/config.ts";
import { encodeUpstream, parseUpstream, type UpstreamInvitation } from "../../../ca/config/upstream.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-upstream-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const invitation: UpstreamInvitation = { url: "https://root.example:8443", parentTrustDomain: "root.example", rootFingerprint: "ab".repeat(32), token: "secret", trustDomain: "west.example", tls: "spiffe" };
const path = join(folder, "west.join");
writeFileSync(path, `${encodeUpstream(invitation)}\n`);
const hourMs = 3_600_000;

describe("the string of the CA above", () => {
  test("brings the trust domain, and issuers that outlast an outage, unless an operator says otherwise", () => {
    expect(readConfig({ flags: { "upstream-file": path } })).toMatchObject({ upstream: invitation, trustDomain: "west.example", issuerLifetimeMs: 168 * hourMs, issuerRenewBeforeMs: 84 * hourMs });
    expect(readConfig({ env: { COUNTERSIGN_UPSTREAM: encodeUpstream(invitation), COUNTERSIGN_ISSUER_LIFETIME: "10d" } })).toMatchObject({ upstream: invitation, issuerLifetimeMs: 240 * hourMs });
    expect(readConfig({})).toMatchObject({ upstream: undefined, trustDomain: "countersign.local", issuerLifetimeMs: 48 * hourMs });
  });

  test.each([
    ["cut off", encodeUpstream(invitation).slice(0, -8)],
    ["a proxy's", "countersign_join_abc"],
    ["without https", encodeUpstream({ ...invitation, url: "http://root.example" })],
    ["with a fingerprint that is none", encodeUpstream({ ...invitation, rootFingerprint: "ab" })],
    ["for what is no trust domain", encodeUpstream({ ...invitation, trustDomain: "West" })],
    ["too long", encodeUpstream({ ...invitation, token: "x".repeat(5000) })],
  ])("is refused when it is %s, and not repeated", (_what, text) => {
    expect(parseUpstream(text)).toBeUndefined();
    expect(() => readConfig({ env: { COUNTERSIGN_UPSTREAM: text } })).toThrow(/^upstream is refused: it is not the string that "countersign issuer invite" prints/);
    expect(() => readConfig({ env: { COUNTERSIGN_UPSTREAM: text } })).not.toThrow(text);
  });

  test.each([
    ["another trust domain", { flags: { "upstream-file": path, "trust-domain": "east.example" } }, /for the trust domain west\.example, and trustDomain is east\.example/],
    ["a root of one's own", { flags: { "upstream-file": path, "root-key": "offline" } }, /exclude each other/],
    ["no file", { flags: { "upstream-file": join(folder, "missing") } }, /missing is not a readable file/],
    ["the same trust domain as above", { env: { COUNTERSIGN_UPSTREAM: encodeUpstream({ ...invitation, trustDomain: "root.example" }) } }, /each has a trust domain of its own/],
  ])("does not go with %s", (_what, sources, message) => {
    expect(() => readConfig(sources)).toThrow(message);
  });
});
