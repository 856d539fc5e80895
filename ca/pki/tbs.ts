import {
  encodeBitString, encodeDer, encodeExplicit, encodeOid, encodeSequence, encodeSetOf, encodeSmallInteger, encodeTime, encodeUnsignedInteger,
  encodeUtf8String,
} from "./der-encoding.ts";
import { tag } from "./der-tag.ts";
import {
  encodeExtensions, encodeSubjectAltName, encodeSubjectKeyIdentifier, type ExtensionFields, type ExtKeyUsagePurpose,
  type KeyUsageBit, type RevocationInfo,
} from "./extension-encoding.ts";
import { encodeSignatureAlgorithm, type SignatureAlgorithm } from "./key.ts";
import { nameOid } from "./oid.ts";

/** All of a certificate but its signature. */
export interface TbsFields {
  /** Big-endian magnitude, a sign octet is added where needed. */
  readonly serialNumber: Uint8Array;
  /** What the issuer will sign with. */
  readonly signatureAlgorithm: SignatureAlgorithm;
  /** DER of the issuer's subject Name, byte for byte. */
  readonly issuer: Uint8Array;
  readonly notBeforeMs: number;
  /** Inclusive, cut to the second. */
  readonly notAfterMs: number;
  /** DER of the subject Name; `emptyName` for workloads. */
  readonly subject: Uint8Array;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly extensions: ExtensionFields;
}

/** What all certificates of one profile by one issuer have in common. */
export interface TemplateFields {
  readonly signatureAlgorithm: SignatureAlgorithm;
  readonly issuer: Uint8Array;
  readonly authorityKeyIdentifier: Uint8Array;
  readonly basicConstraints: { readonly certificateAuthority: boolean };
  readonly keyUsage: readonly KeyUsageBit[];
  readonly extKeyUsage: readonly ExtKeyUsagePurpose[];
  /** One for each shard of the issuer's CRL; their number is a power of two. A certificate takes the one at its serial number modulo that. */
  readonly revocationInfo?: readonly RevocationInfo[];
  /** As AltNames has it. */
  readonly dnsFirst?: boolean;
}

/** What is its own in each workload certificate. */
export interface WorkloadFields {
  readonly serialNumber: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly spki: Uint8Array;
  readonly subjectKeyIdentifier: Uint8Array;
  /** The SPIFFE ID: the only URI name. */
  readonly uri: string;
  readonly dnsNames: readonly string[];
}

export interface NameFields {
  readonly organization?: string;
  readonly commonName: string;
  readonly serialNumber?: string;
}

/**
 * Writes a TBSCertificate, version 3. It encodes; whether the certificate is a good idea, the lint decides.
 * @throws {RangeError} for what no certificate may hold (serial 0, an empty issuer, no name at all): that is our own bug
 * @source RFC 5280 section 4.1
 */
export function encodeTbs(fields: TbsFields): Uint8Array {
  const { serialNumber, signatureAlgorithm, issuer, notBeforeMs, notAfterMs, subject, spki, extensions } = fields;
  if (isEmpty(issuer)) throw new RangeError("the issuer needs a name");
  if (isEmpty(subject) && !extensions.subjectAltName) throw new RangeError("an empty subject needs a subjectAltName");
  const encodedExtensions = encodeExtensions(extensions, isEmpty(subject));
  if (encodedExtensions.length === 0) throw new RangeError("a version 3 certificate needs an extension");
  return encodeSequence(
    version3,
    encodeSerialNumber(serialNumber),
    encodeSignatureAlgorithm(signatureAlgorithm),
    issuer,
    encodeValidity(notBeforeMs, notAfterMs),
    subject,
    spki,
    encodeExplicit(3, encodeSequence(...encodedExtensions)),
  );
}

/**
 * Encodes once what a profile and an issuer fix. The result writes the same bytes as `encodeTbs` with an empty subject,
 * in a few microseconds, because only serial number, validity, key, key identifier and names are left to encode.
 * @throws {RangeError} as encodeTbs
 * @source X509-SVID sections 2 and 4: exactly one URI name, critical because the subject is empty
 */
export function compileTemplate(template: TemplateFields): (workload: WorkloadFields) => Uint8Array {
  const { signatureAlgorithm, issuer, authorityKeyIdentifier, basicConstraints, keyUsage, extKeyUsage, revocationInfo = [{}], dnsFirst = false } = template;
  if (isEmpty(issuer)) throw new RangeError("the issuer needs a name");
  const algorithmAndIssuer = Buffer.concat([encodeSignatureAlgorithm(signatureAlgorithm), issuer]);
  const staticExtensions = revocationInfo.map((shard) => Buffer.concat(
    encodeExtensions({ basicConstraints, keyUsage, extKeyUsage, authorityKeyIdentifier, revocationInfo: shard }, true),
  ));
  // Dates are whole seconds, so under load most certificates share theirs with the one before.
  let last = { notBeforeMs: Number.NaN, notAfterMs: Number.NaN, encoded: emptyName };
  const validity = (notBeforeMs: number, notAfterMs: number): Uint8Array => {
    if (notBeforeMs !== last.notBeforeMs || notAfterMs !== last.notAfterMs) {
      last = { notBeforeMs, notAfterMs, encoded: encodeValidity(notBeforeMs, notAfterMs) };
    }
    return last.encoded;
  };
  return ({ serialNumber, notBeforeMs, notAfterMs, spki, subjectKeyIdentifier, uri, dnsNames }) =>
    encodeSequence(
      version3,
      encodeSerialNumber(serialNumber),
      algorithmAndIssuer,
      validity(notBeforeMs, notAfterMs),
      emptyName,
      spki,
      encodeExplicit(3, encodeSequence(
        staticExtensions[shardOf(serialNumber, staticExtensions.length)]!,
        encodeSubjectKeyIdentifier(subjectKeyIdentifier),
        encodeSubjectAltName({ uris: [uri], dnsNames, dnsFirst }, true),
      )),
    );
}

/**
 * Which of the issuer's CRLs lists a certificate: its serial number modulo their number.
 * @param shards  a power of two, at most 256: the last octet decides
 */
export function shardOf(serialNumber: Uint8Array, shards: number): number {
  return (serialNumber.at(-1) ?? 0) & (shards - 1);
}

/** Puts the signature beside what was signed. @source RFC 5280 section 4.1.1 */
export function encodeCertificate(tbs: Uint8Array, signatureAlgorithm: SignatureAlgorithm, signature: Uint8Array): Uint8Array {
  return encodeSequence(tbs, encodeSignatureAlgorithm(signatureAlgorithm), encodeBitString(signature));
}

/**
 * Writes a Name: organization, common name, serial number, in this order, one attribute in each part.
 * @throws {RangeError} for an empty value or one of more than 64 characters; a serial number has only letters, digits and -
 * @source RFC 5280 section 4.1.2.4 and appendix A.1 (upper bounds)
 */
export function encodeName({ organization, commonName, serialNumber }: NameFields): Uint8Array {
  const parts: Uint8Array[] = [];
  if (organization !== undefined) parts.push(encodeAttribute(nameOid.organization, encodeUtf8String(bounded(organization))));
  parts.push(encodeAttribute(nameOid.commonName, encodeUtf8String(bounded(commonName))));
  if (serialNumber !== undefined) {
    if (!/^[A-Za-z0-9-]+$/.test(serialNumber)) throw new RangeError("serialNumber has only letters, digits and dashes");
    const value = encodeDer(tag.printableString, Buffer.from(bounded(serialNumber), "latin1"));
    parts.push(encodeAttribute(nameOid.serialNumber, value));
  }
  return encodeSequence(...parts);
}

/** The Name of nobody: a workload is named by its subjectAltName alone. */
export const emptyName: Uint8Array = encodeSequence();

function encodeSerialNumber(magnitude: Uint8Array): Uint8Array {
  const encoded = encodeUnsignedInteger(magnitude);
  const content = encoded.subarray(2);
  if (content.length > maxSerialBytes) throw new RangeError(`a serial number has at most ${maxSerialBytes} octets with its sign`);
  if (content.length === 1 && content[0] === 0) throw new RangeError("a serial number is not zero");
  return encoded;
}

function encodeValidity(notBeforeMs: number, notAfterMs: number): Uint8Array {
  if (!(notBeforeMs <= notAfterMs)) throw new RangeError("notAfter lies before notBefore");
  return encodeSequence(encodeTime(notBeforeMs), encodeTime(notAfterMs));
}

function encodeAttribute(type: string, value: Uint8Array): Uint8Array {
  return encodeSetOf(encodeSequence(encodeOid(type), value));
}

function bounded(text: string): string {
  if (text === "" || [...text].length > maxNameChars) {
    throw new RangeError(`a part of a name has 1 to ${maxNameChars} characters`);
  }
  return text;
}

function isEmpty(name: Uint8Array): boolean {
  return name.length <= emptyName.length;
}

const version3 = encodeExplicit(0, encodeSmallInteger(2));
/** RFC 5280 4.1.2.2. */
const maxSerialBytes = 20;
/** ub-common-name, ub-organization-name and ub-serial-number of RFC 5280 appendix A.1. */
const maxNameChars = 64;
