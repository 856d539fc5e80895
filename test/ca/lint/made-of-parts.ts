import { createPublicKey, generateKeyPairSync } from "node:crypto";
import type { CertificateContext } from "../../../ca/lint/certificate-context.ts";
import { parseCertificate, type Certificate } from "../../../ca/pki/certificate.ts";
import {
  encodeBoolean, encodeDer, encodeExplicit, encodeNamedBits, encodeNull, encodeOctetString, encodeOid, encodeSequence, encodeSmallInteger, encodeTime,
  encodeUnsignedInteger,
} from "../../../ca/pki/der-encoding.ts";
import { context as contextTag, contextConstructed } from "../../../ca/pki/der-tag.ts";
import { contentOf, DerReader, encodedOf, readDer } from "../../../ca/pki/der.ts";
import { encodeSignatureAlgorithm, signatureAlgorithmFor, subjectKeyIdentifier } from "../../../ca/pki/key.ts";
import { extensionOid, extKeyUsageOid } from "../../../ca/pki/oid.ts";
import { encodeCertificate, encodeName, encodeTbs } from "../../../ca/pki/tbs.ts";

/** A TBSCertificate as its DER parts, so that a test can change one and leave the rest good. */
export interface Parts {
  readonly version: Uint8Array;
  readonly serialNumber: Uint8Array;
  readonly signatureAlgorithm: Uint8Array;
  readonly issuer: Uint8Array;
  readonly notBefore: Uint8Array;
  readonly notAfter: Uint8Array;
  readonly subject: Uint8Array;
  readonly spki: Uint8Array;
  /** Behind the key: unique identifiers. */
  readonly between?: Uint8Array;
  readonly extensions: Readonly<Record<string, Ext | undefined>>;
  /** Behind the others. */
  readonly furtherExtensions?: readonly Uint8Array[];
}

export interface Ext {
  readonly critical: boolean;
  readonly value: Uint8Array;
}

export function tbsOf(parts: Parts): Uint8Array {
  const { version, serialNumber, signatureAlgorithm, issuer, notBefore, notAfter, subject, spki, between = new Uint8Array() } = parts;
  const extensions = Object.entries(parts.extensions).flatMap(([oid, extension]) => (extension ? [encodeExtension(oid, extension)] : []));
  return encodeSequence(
    version, serialNumber, signatureAlgorithm, issuer, encodeSequence(notBefore, notAfter), subject, spki, between,
    encodeExplicit(3, encodeSequence(...extensions, ...(parts.furtherExtensions ?? []))),
  );
}

export function encodeExtension(oid: string, { critical, value }: Ext): Uint8Array {
  return encodeSequence(encodeOid(oid), ...(critical ? [encodeBoolean(true)] : []), encodeOctetString(value));
}

export const nowMs = Date.UTC(2026, 0, 1);
export const hourMs = 3_600_000;
export const newSpki = (): Uint8Array => createPublicKey(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey).export({ format: "der", type: "spki" });
const signatureAlgorithm = signatureAlgorithmFor("ec-p256");

/** A CA certificate with the facts that rules look at; its signature is none. */
export function authority(change: { pathLength?: number | undefined; keyUsage?: readonly "digitalSignature"[]; isAuthority?: boolean; permitted?: string } = {}): Certificate {
  const spki = newSpki();
  const { pathLength = "pathLength" in change ? undefined : 0, keyUsage = ["keyCertSign", "crlSign"] as const, isAuthority = true, permitted } = change;
  const name = encodeName({ commonName: "east issuer" });
  const tbs = encodeTbs({
    serialNumber: new Uint8Array(16).fill(9), signatureAlgorithm, issuer: name, subject: name, notBeforeMs: nowMs - hourMs, notAfterMs: nowMs + 48 * hourMs, spki,
    extensions: {
      basicConstraints: isAuthority ? { certificateAuthority: true, ...(pathLength !== undefined && { pathLength }) } : { certificateAuthority: false }, keyUsage,
      subjectKeyIdentifier: subjectKeyIdentifier(spki), ...(permitted !== undefined && { nameConstraints: { permitted: { uris: [permitted], dnsNames: [permitted] } } }),
    },
  });
  return parseCertificate(encodeCertificate(tbs, signatureAlgorithm, new Uint8Array(64)));
}

export const limits = {
  lifetimeMaxMs: 24 * hourMs, clockSkewMs: 20_000, keyAlgorithms: ["ec-p256", "ec-p384", "ed25519", "rsa-2048"], names: { dnsNames: undefined, ipRanges: undefined },
} as const;

export const leafIssuer = authority();
export const leafContext: CertificateContext = { kind: "workload", signatureAlgorithm, issuer: leafIssuer, trustDomain: "east", limits };
export const rootIssuer = authority({ pathLength: undefined });
export const issuerContext: CertificateContext = { ...leafContext, kind: "issuer", issuer: rootIssuer };

const ext = (critical: boolean, value: Uint8Array): Ext => ({ critical, value });
export const uri = (text: string): Uint8Array => encodeDer(contextTag(6), Buffer.from(text, "latin1"));
export const dns = (text: string): Uint8Array => encodeDer(contextTag(2), Buffer.from(text, "latin1"));
export const ip = (...octets: number[]): Uint8Array => encodeDer(contextTag(7), Uint8Array.from(octets));
export const altNames = (...names: Uint8Array[]): Ext => ext(true, encodeSequence(...names));
export const keyUsage = (...bits: number[]): Ext => ext(true, encodeNamedBits(bits));
export const purposes = (...oids: string[]): Ext => ext(false, encodeSequence(...oids.map(encodeOid)));
export const point = (...parts: Uint8Array[]): Uint8Array => encodeSequence(...parts);
export const fullName = (text: string): Uint8Array => encodeDer(contextConstructed(0), encodeDer(contextConstructed(0), uri(text)));
export const keyId = (octets: Uint8Array): Ext => ext(false, encodeSequence(encodeDer(contextTag(0), octets)));
export { encodeNull, ext };

const leafSpki = newSpki();
export const leaf: Parts = {
  version: encodeExplicit(0, encodeSmallInteger(2)),
  serialNumber: encodeUnsignedInteger(Uint8Array.from({ length: 16 }, (_, index) => 0xf0 - index)),
  signatureAlgorithm: encodeSignatureAlgorithm(signatureAlgorithm),
  issuer: leafIssuer.subject,
  notBefore: encodeTime(nowMs - 20_000),
  notAfter: encodeTime(nowMs + 24 * hourMs - 1000),
  subject: encodeSequence(),
  spki: leafSpki,
  extensions: {
    [extensionOid.basicConstraints]: ext(true, encodeSequence()),
    [extensionOid.keyUsage]: keyUsage(0),
    [extensionOid.extKeyUsage]: purposes(extKeyUsageOid.serverAuth, extKeyUsageOid.clientAuth),
    [extensionOid.authorityKeyIdentifier]: keyId(leafIssuer.subjectKeyIdentifier!),
    [extensionOid.subjectKeyIdentifier]: ext(false, encodeOctetString(subjectKeyIdentifier(leafSpki))),
    [extensionOid.subjectAltName]: altNames(uri("spiffe://east/ns/shop/sa/cart"), dns("cart.shop.svc")),
  },
};

const issuerSpki = newSpki();
export const issuer: Parts = {
  ...leaf,
  issuer: rootIssuer.subject,
  subject: encodeName({ organization: "Countersign", commonName: "east issuer" }),
  spki: issuerSpki,
  extensions: {
    [extensionOid.basicConstraints]: ext(true, encodeSequence(encodeBoolean(true), encodeSmallInteger(0))),
    [extensionOid.keyUsage]: keyUsage(5, 6),
    [extensionOid.authorityKeyIdentifier]: keyId(rootIssuer.subjectKeyIdentifier!),
    [extensionOid.subjectKeyIdentifier]: ext(false, encodeOctetString(subjectKeyIdentifier(issuerSpki))),
    [extensionOid.subjectAltName]: ext(false, encodeSequence(uri("spiffe://east"))),
  },
};

/** The same parts with some extensions changed, added or (undefined) left out. */
export function withExtensions(parts: Parts, changes: Readonly<Record<string, Ext | undefined>>): Parts {
  return { ...parts, extensions: { ...parts.extensions, ...changes } };
}

/** The parts of an encoded certificate, for looking at what is really issued. */
export function readElements(der: Uint8Array): Uint8Array[] {
  const reader = new DerReader(readDer(der));
  const elements: Uint8Array[] = [];
  while (!reader.finished) elements.push(encodedOf(reader.next()));
  return elements;
}
export { contentOf };
