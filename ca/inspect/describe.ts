import { X509Certificate } from "node:crypto";
import type { Bundle } from "../pki/bundle.ts";
import type { Certificate } from "../pki/certificate.ts";
import type { Crl } from "../pki/crl.ts";
import type { Csr } from "../pki/csr.ts";
import { PkiError } from "../pki/errors.ts";
import type { GeneralNames, IpRange, NameSubtrees } from "../pki/general-name.ts";
import { describeSpki } from "../pki/key.ts";
import { describeName } from "../pki/name-text.ts";
import { extKeyUsageOid } from "../pki/oid.ts";
import { revocationInfoOf } from "../pki/revocation-info.ts";
import type { Item } from "./items.ts";
import { momentOf, spanOf } from "./time-text.ts";

/** What a thing says of itself, true or not. */
export interface Description {
  readonly title: string;
  /** Label and value; values are as they stand in the file, so they are made inert before they are shown. */
  readonly rows: readonly (readonly [label: string, value: string])[];
}

/** Puts a thing in plain words. @param nowMs against which validity is told */
export function describe(item: Item, nowMs: number): Description {
  switch (item.kind) {
    case "certificate": return item.read instanceof PkiError ? describeForeign(item.der) : describeCertificate(item.read, nowMs);
    case "request": return item.read instanceof PkiError ? unreadable("certification request (CSR)") : describeRequest(item.read);
    case "crl": return item.read instanceof PkiError ? unreadable("list of revoked certificates (CRL)") : describeCrl(item.read);
    case "bundle": return item.read instanceof PkiError ? unreadable("SPIFFE bundle, or another JSON document") : describeBundle(item.read);
    case "private key": return { title: "private key", rows: [["key", keyOf(item.spki) ?? "sealed with a passphrase, or of a kind unknown here"], ["secret", "whoever reads it is its owner; it is not shown"]] };
    case "public key": return { title: "public key", rows: [["key", keyOf(item.spki) ?? "of a kind that is not accepted here"]] };
    case "join string": {
      if (item.read instanceof PkiError) return unreadable("join string");
      const { caUrl, trustDomain, rootFingerprint } = item.read;
      return { title: "join string for a proxy", rows: [["CA", caUrl], ["trust domain", trustDomain], ["its root", `SHA-256 ${rootFingerprint}`], ["secret", "good once, for whoever shows it first; it is not shown"]] };
    }
    case "unknown": return { title: "something else", rows: [["it is", item.what]] };
  }
}

/** What a certificate is for, by its own words. */
export function kindOf({ basicConstraints, subjectAltName, subject, issuer }: Certificate): "root" | "authority" | "workload" | "other" {
  if (basicConstraints?.certificateAuthority === true) return Buffer.compare(subject, issuer) === 0 ? "root" : "authority";
  return subjectAltName?.uris.some((uri) => /^spiffe:/i.test(uri)) === true ? "workload" : "other";
}

function describeCertificate(certificate: Certificate, nowMs: number): Description {
  const { subjectAltName, subject, subjectEmpty, issuer, keyAlgorithm, signatureAlgorithm, nameConstraints, serialNumber, fingerprint } = certificate;
  const kind = kindOf(certificate);
  return {
    title: titles[kind],
    rows: [
      ...(subjectAltName?.uris ?? []).map((uri) => ["identity", uri] as const),
      ...row("names", subjectAltName && namesOf(subjectAltName)),
      ...row("subject", subjectEmpty ? "" : describeName(subject)),
      ["issued by", kind === "root" ? "itself" : describeName(issuer)],
      ["valid", `${momentOf(certificate.notBeforeMs)} to ${momentOf(certificate.notAfterMs)}`],
      ["life", lifeOf(certificate, nowMs)],
      ["key", `${keyAlgorithm}; signed with ${signatureAlgorithm}`],
      ["may", usesOf(certificate)],
      ...row("only names", nameConstraints?.permitted && subtreesOf(nameConstraints.permitted)),
      ...row("never names", nameConstraints?.excluded && subtreesOf(nameConstraints.excluded)),
      ["revocation", revocationOf(certificate)],
      ["serial number", serialNumber],
      ["SHA-256", fingerprint],
    ],
  };
}

/** What Node.js makes of a certificate that our parser refuses; what is wrong with it is said elsewhere. */
function describeForeign(der: Uint8Array): Description {
  try {
    const { subject, issuer, subjectAltName, validFrom, validTo, serialNumber, fingerprint256 } = new X509Certificate(der);
    const oneLine = (text: string | undefined): string => (text ?? "").replaceAll("\n", ", ");
    return {
      title: "certificate that neither the CA nor a proxy reads",
      rows: [
        ...row("names", oneLine(subjectAltName)), ...row("subject", oneLine(subject)), ["issued by", oneLine(issuer)], ["valid", `${validFrom} to ${validTo}`],
        ["serial number", serialNumber.toLowerCase()], ["SHA-256", fingerprint256.replaceAll(":", "").toLowerCase()],
      ],
    };
  } catch {
    return unreadable("certificate");
  }
}

function describeRequest({ spki, keyAlgorithm, signatureAlgorithm, subject, uriSans, dnsSans }: Csr): Description {
  const names = [...uriSans, ...dnsSans.map((name) => `DNS ${name}`)];
  return {
    title: "certification request (CSR)",
    rows: [
      ...row("subject", describeName(subject)),
      ["asks for", names.length === 0 ? "no names" : names.join(", ")],
      ["key", `${keyAlgorithm}, ${spki.length} bytes; signed with ${signatureAlgorithm}`],
      ["mind", "only the key is taken from it: which identity and names it gets is decided by who asks (token, attestation, current SVID) and by the profile"],
    ],
  };
}

function describeCrl({ issuer, number, thisUpdateMs, nextUpdateMs, entries, scope }: Crl): Description {
  const about = scope.onlyAuthorities ? "of CAs only" : scope.onlyEndEntities ? "of end entities only" : "of all that it issued";
  return {
    title: "list of revoked certificates (CRL)",
    rows: [
      ["issued by", describeName(issuer)], ["number", number.toString()], ["about", `certificates ${about}${scope.urls.length > 0 ? `, at ${scope.urls.join(", ")}` : ""}`],
      ["valid", `${momentOf(thisUpdateMs)} to ${momentOf(nextUpdateMs)}`], ["revoked", `${entries.size} certificates`],
    ],
  };
}

function describeBundle({ x509Authorities, jwtAuthorities, sequence }: Bundle): Description {
  return {
    title: "SPIFFE bundle of a trust domain, which it does not name",
    rows: [
      ...x509Authorities.map((anchor) => ["anchor", `${describeName(anchor.subject)}, until ${momentOf(anchor.notAfterMs)}, SHA-256 ${anchor.fingerprint}`] as const),
      ["JWT keys", jwtAuthorities.length === 0 ? "none" : jwtAuthorities.map(({ keyId }) => keyId).join(", ")],
      ...row("sequence", sequence?.toString()),
    ],
  };
}

function lifeOf({ notBeforeMs, notAfterMs }: Certificate, nowMs: number): string {
  const endMs = notAfterMs + 1000;
  const lifetime = spanOf(endMs - notBeforeMs);
  if (nowMs < notBeforeMs) return `begins in ${spanOf(notBeforeMs - nowMs)}, for ${lifetime}`;
  return nowMs >= endMs ? `ended ${spanOf(nowMs - endMs)} ago, after ${lifetime}` : `${spanOf(endMs - nowMs)} left of ${lifetime}`;
}

function usesOf({ basicConstraints, keyUsage, extendedKeyUsage }: Certificate): string {
  const below = basicConstraints?.pathLength;
  const uses = [
    ...(keyUsage?.keyCertSign ? [below === undefined ? "sign certificates, also of CAs" : below === 0 ? "sign certificates, but not of CAs" : `sign certificates, also of CAs in ${below} levels below`] : []),
    ...(keyUsage?.crlSign ? ["sign CRLs"] : []),
    ...(keyUsage?.digitalSignature ? ["sign in TLS handshakes"] : []),
    ...(extendedKeyUsage?.purposes ?? []).map((purpose) => purposeNames[purpose] ?? `be used for ${purpose}`),
  ];
  return uses.length === 0 ? "says nothing about what it may" : uses.join(", ");
}

function revocationOf(certificate: Certificate): string {
  if (certificate.noRevocationAvailable) return "nobody publishes it (noRevAvail); the deny-list of the proxies holds all the same";
  const { crlUrls, ocspUrls } = revocationInfoOf(certificate);
  const places = [...crlUrls.map((url) => `CRL ${url}`), ...ocspUrls.map((url) => `OCSP ${url}`)];
  return places.length === 0 ? "names no place where it would be published" : places.join(", ");
}

function namesOf({ dnsNames, ipAddresses, emails, directoryNames, otherKinds }: GeneralNames): string {
  return [
    ...dnsNames.map((name) => `DNS ${name}`), ...ipAddresses.map((octets) => `IP ${ipText(octets)}`), ...emails.map((email) => `e-mail ${email}`),
    ...directoryNames.map((name) => `directory ${describeName(name)}`), ...otherKinds.map((kind) => `a name of kind ${kind}`),
  ].join(", ");
}

function subtreesOf({ uris, dnsNames, ipAddresses, emails, directoryNames, otherKinds }: NameSubtrees): string {
  return [
    ...uris.map((host) => `URIs of ${host}`), ...dnsNames.map((name) => `DNS ${name === "" ? "names of any kind" : name}`), ...ipAddresses.map(({ address, mask }: IpRange) => `IP ${ipText(address)} mask ${ipText(mask)}`),
    ...emails.map((email) => `e-mail ${email}`), ...directoryNames.map((name) => `directory ${describeName(name)}`), ...otherKinds.map((kind) => `kind ${kind}`),
  ].join(", ");
}

function ipText(octets: Uint8Array): string {
  if (octets.length === 4) return octets.join(".");
  const groups = (Buffer.from(octets).toString("hex").match(/.{4}/g) ?? []).join(":");
  // The URL parser writes the short form of RFC 5952.
  return new URL(`http://[${groups}]`).hostname.slice(1, -1);
}

function keyOf(spki: Uint8Array | undefined): string | undefined {
  try {
    return spki && describeSpki(spki).keyAlgorithm;
  } catch (error) {
    if (error instanceof PkiError) return undefined;
    throw error;
  }
}

const row = (label: string, value: string | undefined): readonly (readonly [string, string])[] => (value === undefined || value === "" ? [] : [[label, value]]);
const unreadable = (title: string): Description => ({ title: `${title}, unreadable`, rows: [] });

const titles = { root: "root certificate of a CA", authority: "certificate of a CA below another", workload: "certificate of a workload (X509-SVID)", other: "certificate without a SPIFFE ID" } as const;
const purposeNames: Readonly<Record<string, string>> = {
  [extKeyUsageOid.any]: "be anything", [extKeyUsageOid.serverAuth]: "be a TLS server", [extKeyUsageOid.clientAuth]: "be a TLS client", [extKeyUsageOid.ocspSigning]: "sign OCSP answers",
};
