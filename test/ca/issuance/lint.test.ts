import { createPublicKey } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { createIssuer, createRoot } from "../../../ca/authority/create.ts";
import { templateLint } from "../../../ca/issuance/lint.ts";
import { apiProfile, workloadProfile } from "../../../ca/issuance/profile.ts";
import { serialNumbers } from "../../../ca/issuance/serial.ts";
import { compileCertificateTemplate, type CertificateFields, type CertificateTemplate } from "../../../ca/issuance/template.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { parseIpAddress } from "../../../ca/pki/ip-address.ts";
import { subjectKeyIdentifier } from "../../../ca/pki/key.ts";
import { revocationInfoOf } from "../../../ca/pki/revocation-info.ts";
import { encodeCertificate } from "../../../ca/pki/tbs.ts";
import { softwareSigner, type SoftwareSigner } from "../../../ca/signer/software.ts";
import { dayMs, newKey } from "../../support/running-ca.ts";

const nowMs = Date.UTC(2026, 0, 1);
const profile = workloadProfile({ certificateLifetimeMs: dayMs, certificateLifetimeMaxMs: dayMs, clockSkewMs: 20_000 });
let template: CertificateTemplate;
let signer: SoftwareSigner;
let fields: CertificateFields;
beforeAll(async () => {
  const request = { trustDomain: "east", keyAlgorithm: "ec-p256", lifetimeMs: 30 * dayMs, clockSkewMs: 20_000, nowMs } as const;
  const root = createRoot(request);
  const { certificate, privateKey } = await createIssuer({ ...request, lifetimeMs: 2 * dayMs }, { certificate: root.certificate, signer: softwareSigner(root.privateKey) });
  signer = softwareSigner(privateKey);
  template = compileCertificateTemplate(certificate, signer, profile);
  const spki = createPublicKey(newKey()).export({ format: "der", type: "spki" });
  fields = {
    serialNumber: serialNumbers()(nowMs), notBeforeMs: nowMs - 20_000, notAfterMs: nowMs + dayMs - 1000, spki,
    subjectKeyIdentifier: subjectKeyIdentifier(spki), uri: "spiffe://east/ns/shop/sa/cart", dnsNames: ["cart.shop"],
  };
});

describe("a profile says of revocation", () => {
  const settings = { certificateLifetimeMs: dayMs, certificateLifetimeMaxMs: dayMs, clockSkewMs: 20_000 };
  const under = (more: object) => compileCertificateTemplate(template.issuer, signer, apiProfile({ ...settings, ...more }));
  const read = (made: CertificateTemplate, change: Partial<CertificateFields> = {}) =>
    parseCertificate(encodeCertificate(templateLint(made, "east")({ ...fields, ...change }), made.signatureAlgorithm, new Uint8Array(64)));
  const issuerId = () => Buffer.from(template.issuer.subjectKeyIdentifier!).toString("hex");

  test("nothing by default", () => {
    expect(revocationInfoOf(read(under({})))).toEqual({ crlUrls: [], ocspUrls: [], issuerUrls: [] });
  });

  test("its CRL, OCSP and issuer below the status URL, also in the API's own certificate", () => {
    const made = under({ statusUrl: "http://pki.east/status", crlShards: 16 });
    for (const change of [{}, { ipAddresses: [parseIpAddress("127.0.0.1")] }]) {
      expect(revocationInfoOf(read(made, { ...change, serialNumber: new Uint8Array(16).fill(0x5b) }))).toEqual({
        crlUrls: [`http://pki.east/status/crl/${issuerId()}/16-11.crl`], ocspUrls: ["http://pki.east/status/ocsp"],
        issuerUrls: [`http://pki.east/status/authority/${issuerId()}.cer`],
      });
    }
  });

  test("that there is none to be had, and then nothing of where", () => {
    const certificate = read(under({ statusUrl: "http://pki.east", crlShards: 16, noRevAvail: true }));
    expect(certificate.noRevocationAvailable).toBe(true);
    expect(revocationInfoOf(certificate)).toEqual({ crlUrls: [], ocspUrls: [], issuerUrls: [] });
  });

  test("what was meant, or nothing is signed", () => {
    const made = under({ statusUrl: "http://pki.east", crlShards: 2 });
    const others = [under({}), under({ noRevAvail: true }), under({ statusUrl: "http://pki.west", crlShards: 2 }), under({ statusUrl: "http://pki.east", crlShards: 4 })];
    for (const other of others) {
      expect(() => templateLint({ ...made, encode: other.encode }, "east")(fields)).toThrow(expect.objectContaining({ code: "lint_failed" }));
    }
  });
});

describe("the lint lets through", () => {
  test("what the profile makes, byte for byte what was encoded", () => {
    expect(Buffer.from(templateLint(template, "east")(fields))).toEqual(Buffer.from(template.encode(fields)));
  });

  test("the API's certificate with IP addresses", () => {
    const addressed = { ...fields, ipAddresses: [parseIpAddress("127.0.0.1"), parseIpAddress("::1")] };
    const api = compileCertificateTemplate(template.issuer, signer, { ...profile, kind: "api", names: { dnsNames: undefined, ipRanges: undefined } });
    expect(() => templateLint(api, "east")(addressed)).not.toThrow();
    expect(() => templateLint(template, "east")(addressed)).toThrow(expect.objectContaining({ code: "lint_failed" }));
  });
});

describe("the lint stops, also behind a certificate that passed,", () => {
  const faults: readonly [claim: string, change: (good: CertificateFields) => Partial<CertificateFields>][] = [
    ["a short serial number", () => ({ serialNumber: new Uint8Array(8).fill(1) })],
    ["a serial number with a leading zero", () => ({ serialNumber: Uint8Array.of(0, ...new Uint8Array(15).fill(1)) })],
    ["dates with fractions", ({ notAfterMs }) => ({ notAfterMs: notAfterMs + 1 })],
    ["an end before the beginning", ({ notBeforeMs }) => ({ notAfterMs: notBeforeMs - 1000 })],
    ["a life longer than the profile's", ({ notAfterMs }) => ({ notAfterMs: notAfterMs + 1000 })],
    ["a certificate that outlives its issuer", ({ notAfterMs }) => ({ notAfterMs: notAfterMs + dayMs + 1000, notBeforeMs: notAfterMs + 1000 })],
    ["the issuer's own key", () => ({ spki: template.issuer.spki })],
    ["a key identifier of another length", () => ({ subjectKeyIdentifier: new Uint8Array(8) })],
    ["an ID of another trust domain", () => ({ uri: "spiffe://west/a" })],
    ["an ID without a path", () => ({ uri: "spiffe://east/" })],
    ["a DNS name with a null octet", () => ({ dnsNames: ["cart\0.evil"] })],
    ["an overlong certificate", () => ({ uri: `spiffe://east/${"a".repeat(9000)}` })],
  ];
  for (const [claim, change] of faults) {
    test(claim, () => {
      const lint = templateLint(template, "east");
      lint(fields);
      expect(() => lint({ ...fields, ...change(fields) })).toThrow(expect.objectContaining({ code: "lint_failed" }));
    });
  }
});

describe("the lint reads the first certificate of a template back, and stops", () => {
  const other = (change: Partial<CertificateFields>) => (good: CertificateFields): Uint8Array => template.encode({ ...good, ...change });
  const faults: readonly [claim: string, encode: (good: CertificateFields) => Uint8Array][] = [
    ["another serial number", other({ serialNumber: new Uint8Array(16).fill(7) })],
    ["other dates", other({ notAfterMs: nowMs + 1000 })],
    ["another key", (good) => template.encode({ ...good, spki: createPublicKey(newKey()).export({ format: "der", type: "spki" }) })],
    ["another key identifier", other({ subjectKeyIdentifier: new Uint8Array(20) })],
    ["another ID", other({ uri: "spiffe://east/ns/shop/sa/admin" })],
    ["another DNS name", other({ dnsNames: ["admin.shop"] })],
    ["one DNS name more", other({ dnsNames: ["cart.shop", "admin.shop"] })],
    ["an IP address nobody asked for", other({ ipAddresses: [parseIpAddress("10.0.0.1")] })],
    ["bytes that are no certificate", () => Uint8Array.of(0x30, 0)],
  ];
  for (const [claim, encode] of faults) {
    test(claim, () => {
      expect(() => templateLint({ ...template, encode }, "east")(fields)).toThrow(expect.objectContaining({ code: "lint_failed" }));
    });
  }

  test.each([
    ["a CA's key usage", { ...profile, keyUsage: ["digitalSignature", "keyCertSign"] }],
    ["no digitalSignature", { ...profile, keyUsage: ["keyAgreement"] }],
    ["a missing purpose", { ...profile, extKeyUsage: ["serverAuth"] }],
  ] as const)("%s, compared with the workload profile", (_claim, wrong) => {
    const compiled = compileCertificateTemplate(template.issuer, { ...softwareSigner(newKey()) }, { ...wrong });
    expect(() => templateLint({ ...compiled, profile }, "east")(fields)).toThrow(expect.objectContaining({ code: "lint_failed" }));
  });

  test("another issuer's name or key identifier", async () => {
    const request = { trustDomain: "east", keyAlgorithm: "ec-p256", lifetimeMs: 30 * dayMs, clockSkewMs: 20_000, nowMs } as const;
    const stranger = createRoot(request);
    const compiled = compileCertificateTemplate(stranger.certificate, softwareSigner(stranger.privateKey), profile);
    expect(() => templateLint({ ...compiled, issuer: template.issuer }, "east")(fields)).toThrow(expect.objectContaining({ code: "lint_failed" }));
  });
});
