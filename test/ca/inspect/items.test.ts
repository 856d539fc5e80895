import { createPrivateKey } from "node:crypto";
import { describe as group, expect, test } from "vitest";
import { describe } from "../../../ca/inspect/describe.ts";
import { inert } from "../../../ca/settings/inert.ts";
import { readContents } from "../../../ca/inspect/items.ts";
import { spanOf } from "../../../ca/inspect/time-text.ts";
import { encodeBootstrap } from "../../../ca/pki/bootstrap.ts";
import { encodeBundle } from "../../../ca/pki/bundle.ts";
import { encodeCsr } from "../../../ca/pki/csr.ts";
import { encodePem } from "../../../ca/pki/pem.ts";
import { dns, ip, name, nameConstraints, testAuthority, testKey, testNowMs as nowMs, uri } from "../../support/test-ca.ts";

const east = testAuthority({ trustDomain: "east" });
const issuer = east.issuer({ pathLength: 0, nameConstraints: nameConstraints({ permitted: [uri("east")], excluded: [dns("bank.example")] }) });
const leaf = issuer.leaf({ names: [dns("cart.shop.svc"), ip(10, 0, 0, 1), ip(...new Uint8Array(15), 1)] });
const { privateKey } = testKey();
const told = (text: string | Uint8Array): readonly Record<string, string>[] =>
  readContents(Buffer.from(text)).items.map((item) => describe(item, nowMs)).map(({ title, rows }) => ({ title, ...Object.fromEntries(rows) }));

group("a file is told", () => {
  test("a chain: each certificate with its names, dates, uses and place", () => {
    const [first, second] = told(leaf.chainPem);
    expect(first).toMatchObject({
      title: "certificate of a workload (X509-SVID)", identity: "spiffe://east/workload", names: "DNS cart.shop.svc, IP 10.0.0.1, IP ::1", "issued by": "CN=east issuer",
      valid: "2024-01-01 00:00:00Z to 2046-01-01 00:00:00Z", life: "21 years left of 22 years", key: "ec-p256; signed with ecdsa-sha256", "serial number": leaf.serialNumber,
      may: "sign in TLS handshakes, be a TLS server, be a TLS client",
    });
    expect(second).toMatchObject({ title: "certificate of a CA below another", may: "sign certificates, but not of CAs, sign CRLs", "only names": "URIs of east", "never names": "DNS bank.example" });
    expect(told(east.pem)[0]).toMatchObject({ title: "root certificate of a CA", "issued by": "itself" });
  });

  test("the same in DER, and behind text as openssl writes it", () => {
    expect(told(leaf.der)[0]).toEqual(told(`Certificate:\n    Data:\n${leaf.pem}`)[0]);
  });

  test("a request, with what of it counts", () => {
    const csr = encodeCsr({ privateKey, uriSans: ["spiffe://east/a"], dnsSans: ["a.example"] });
    for (const text of [encodePem("CERTIFICATE REQUEST", csr), encodePem("CERTIFICATE REQUEST", csr).replaceAll("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"), csr]) {
      expect(told(text)[0]).toMatchObject({ title: "certification request (CSR)", "asks for": "spiffe://east/a, DNS a.example", mind: expect.stringContaining("only the key") as string });
    }
  });

  test("a SPIFFE bundle: its anchors and keys", () => {
    expect(told(encodeBundle({ ...east.bundle(), sequence: 7n }))[0]).toMatchObject({ anchor: expect.stringMatching(/^CN=east root, until 2046-01-01/) as string, "JWT keys": "none", sequence: "7" });
  });

  test("a certificate that our parser refuses, as far as anything can be read", () => {
    expect(told(issuer.leaf({ keyKind: "rsa-1024", subject: name("old") }).pem)[0]).toMatchObject({ title: "certificate that neither the CA nor a proxy reads", subject: "CN=old" });
  });

  test("secrets as what they are, without themselves", () => {
    const join = encodeBootstrap({ caUrl: "https://ca:8443", token: "secret-token-secret-token-secret", rootFingerprint: "ab".repeat(32), trustDomain: "east" });
    for (const form of [{ type: "pkcs8", format: "pem" }, { type: "sec1", format: "pem" }] as const) {
      const pem = String(createPrivateKey(leaf.privateKeyPem).export(form));
      expect(told(pem)).toEqual([{ title: "private key", key: "ec-p256", secret: expect.any(String) as string }]);
    }
    const sealed = String(privateKey.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "x" }));
    expect(told(sealed)[0]!["key"]).toContain("passphrase");
    const [first] = told(join);
    expect(first).toMatchObject({ title: "join string for a proxy", CA: "https://ca:8443", "trust domain": "east" });
    expect(JSON.stringify(first)).not.toContain("secret-token");
  });
});

test("what a name could do to a terminal is spelled out", () => {
  expect(inert("a\u001b[31mred\u202e\nb\u2028")).toBe("a\\u{1b}[31mred\\u{202e}\\u{a}b\\u{2028}");
});

test.for([[90_000, "90 s"], [30 * 60_000, "30 min"], [48 * 3_600_000, "48 h"], [30 * 86_400_000, "30 days"], [3650 * 86_400_000, "10 years"]] as const)("%d ms are %s", ([ms, text]) => {
  expect(spanOf(ms)).toBe(text);
});
