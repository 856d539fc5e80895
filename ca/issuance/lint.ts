import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { extKeyUsageOid } from "../pki/oid.ts";
import { encodeCertificate } from "../pki/tbs.ts";
import { subjectKeyIdentifier } from "../pki/key.ts";
import { revocationInfoOf } from "../pki/revocation-info.ts";
import { readSpiffeId } from "../pki/svid.ts";
import { Refusal } from "../refusal.ts";
import { serialBytes } from "./serial.ts";
import type { CertificateFields, CertificateTemplate } from "./template.ts";

declare const linted: unique symbol;
/** To-be-signed bytes that passed the lint; `signCertificate` takes nothing else. */
export type LintedTbs = Uint8Array & { readonly [linted]: true };

/** Encodes the fields and lints them: the bytes that come back are the bytes that were judged. */
export type EncodeAndLint = (fields: CertificateFields) => LintedTbs;

/**
 * Binds the lint to a template. What varies is checked for each certificate; what the template fixed is checked once, by
 * reading the first certificate back as a stranger would. One with IP addresses is always read back.
 * @throws {Refusal} lint_failed, with the rule: a bug of ours or a damaged issuer, and nothing was signed
 */
export function templateLint(template: CertificateTemplate, trustDomain: string): EncodeAndLint {
  let proven = false;
  return (fields) => {
    lintFields(template, fields, trustDomain);
    const tbs = template.encode(fields);
    if (tbs.length > maxTbsBytes) throw failed("size", `${tbs.length} bytes exceed the limit of ${maxTbsBytes}`);
    if (!proven || fields.ipAddresses !== undefined) {
      lintWhole(template, fields, tbs);
      proven = true;
    }
    return tbs as LintedTbs;
  };
}

/** The rules that another request could break. */
function lintFields({ issuer, profile }: CertificateTemplate, fields: CertificateFields, trustDomain: string): void {
  const { serialNumber, notBeforeMs, notAfterMs, spki, uri, dnsNames, subjectKeyIdentifier: keyIdentifier } = fields;
  // RFC 5280 4.1.2.2 and DESIGN promise 5.
  if (serialNumber.length !== serialBytes || serialNumber[0] === 0) {
    throw failed(
      "CERT-02",
      "the serial number is not 128 random bits",
    );
  }
  if (notBeforeMs % 1000 !== 0 || notAfterMs % 1000 !== 0) throw failed("CERT-05", "the dates are not whole seconds");
  if (!(notBeforeMs < notAfterMs + 1000)) throw failed("CERT-05", "it ends before it begins");
  if (notAfterMs + 1000 - notBeforeMs > profile.lifetimeMaxMs + profile.clockSkewMs) {
    throw failed(
      "profile",
      "it is valid for longer than the profile allows",
    );
  }
  // Never truncated silently: spire#1266.
  if (notAfterMs > issuer.notAfterMs) throw failed("CERT-21", "it would outlive its issuer");
  if (Buffer.compare(spki, issuer.spki) === 0) throw failed("CERT-22", "its key is its issuer's key");
  if (keyIdentifier.length !== issuer.subjectKeyIdentifier?.length) {
    throw failed(
      "CERT-10",
      "the subject key identifier has the wrong length",
    );
  }
  const prefix = `spiffe://${trustDomain}/`;
  if (!uri.startsWith(prefix) || uri.length === prefix.length) {
    throw failed(
      "SPIFFE ID",
      `the ID is not one of a workload of ${trustDomain}`,
    );
  }
  for (const name of dnsNames) if (!dnsCharacters.test(name)) throw failed("CERT-16", "a DNS name has characters outside a-z, 0-9, dot and dash");
}

/** Reads the certificate back with a signature that is none, and compares everything with what was meant. */
function lintWhole(template: CertificateTemplate, fields: CertificateFields, tbs: Uint8Array): void {
  const { issuer, profile, signatureAlgorithm } = template;
  let certificate: Certificate;
  try {
    certificate = parseCertificate(encodeCertificate(tbs, signatureAlgorithm, noSignature));
  } catch (cause) {
    throw failed("CERT-01, CERT-24", "it cannot be read back", cause);
  }
  const { keyUsage, extendedKeyUsage, basicConstraints, subjectAltName, nameConstraints } = certificate;
  const expect = (rule: string, held: boolean): void => {
    if (!held) throw failed(rule, "what was written is not what was meant");
  };
  expect("CERT-02", certificate.serialNumber === Buffer.from(fields.serialNumber).toString("hex"));
  expect("CERT-03", certificate.signatureAlgorithm === signatureAlgorithm);
  expect("CERT-04", Buffer.compare(certificate.issuer, issuer.subject) === 0);
  expect("CERT-05", certificate.notBeforeMs === fields.notBeforeMs && certificate.notAfterMs === fields.notAfterMs);
  expect("CERT-06", certificate.subjectEmpty && subjectAltName?.critical === true);
  expect("CERT-09", same(certificate.authorityKeyIdentifier, issuer.subjectKeyIdentifier));
  expect("CERT-10", same(certificate.subjectKeyIdentifier, subjectKeyIdentifier(fields.spki)));
  expect("CERT-11", keyUsage?.critical === true && keyUsage.digitalSignature);
  expect("CERT-12", keyUsage?.keyCertSign === false && !keyUsage.crlSign);
  expect("CERT-13", keyUsage?.keyEncipherment === false && !keyUsage.keyAgreement);
  expect("CERT-14", basicConstraints?.certificateAuthority === false && nameConstraints === undefined);
  expect("CERT-15", sameList(extendedKeyUsage?.purposes, profile.extKeyUsage.map((purpose) => extKeyUsageOid[purpose])));
  expect("CERT-16", sameList(subjectAltName?.dnsNames, fields.dnsNames));
  expect("CERT-16", sameList(subjectAltName?.ipAddresses.map(String), (fields.ipAddresses ?? []).map(String)));
  const { crlUrl, ocspUrl, issuerUrl, noRevocationAvailable } = template.revocationInfo(fields.serialNumber);
  const pointers = revocationInfoOf(certificate);
  expect("CERT-18", sameList(pointers.crlUrls, crlUrl === undefined ? [] : [crlUrl]));
  expect("CERT-19", sameList(pointers.ocspUrls, ocspUrl === undefined ? [] : [ocspUrl]));
  expect("CERT-19", sameList(pointers.issuerUrls, issuerUrl === undefined ? [] : [issuerUrl]));
  expect("NREV-01", certificate.noRevocationAvailable === noRevocationAvailable);
  expect("CERT-22", same(certificate.spki, fields.spki));
  expect("X509-SVID 2", sameList(subjectAltName?.uris, [fields.uri]) && readSpiffeId(certificate).uri === fields.uri);
  expect("X509-SVID 2", subjectAltName?.emails.length === 0 && subjectAltName.directoryNames.length === 0 && subjectAltName.otherKinds.length === 0);
}

function same(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  return one !== undefined && other !== undefined && Buffer.compare(one, other) === 0;
}

function sameList(one: readonly string[] | undefined, other: readonly string[]): boolean {
  return one?.length === other.length && one.every((item, index) => item === other[index]);
}

function failed(rule: string, detail: string, cause?: unknown): Refusal {
  return new Refusal(
    "lint_failed",
    `The certificate would break rule ${rule}: ${detail}. Nothing was signed; this is a fault of the CA, please report ` +
      "it.",
    { cause },
  );
}

const dnsCharacters = /^[a-z0-9.-]+$/;
/** Sixteen names of 253 characters, a 2 KiB ID and an RSA-4096 key have 7 KiB. */
const maxTbsBytes = 8 * 1024;
const noSignature = new Uint8Array(64);
