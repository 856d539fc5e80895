import { hash, type KeyObject } from "node:crypto";
import { contextConstructed, tag } from "./der-tag.ts";
import { DerReader, encodedOf, readDer, readerOf, readIntegerBytes, readOctetAlignedBitString, readSmallInteger, readTime } from "./der.ts";
import { PkiError } from "./errors.ts";
import { readExtensions, type Extensions } from "./extensions.ts";
import { describeSpki, importPublicKey, parseSignatureAlgorithm, type KeyAlgorithm, type SignatureAlgorithm } from "./key.ts";
import { parseName } from "./name.ts";

/** A certificate as read, not yet trusted: nothing here has been checked against an issuer or a clock. */
export interface Certificate extends Extensions {
  readonly der: Uint8Array;
  /** The signed part, a view into `der`. */
  readonly tbs: Uint8Array;
  /** Lower-case hex of the value, two digits an octet, without the sign octet. */
  readonly serialNumber: string;
  readonly signatureAlgorithm: SignatureAlgorithm;
  readonly signature: Uint8Array;
  /** DER of the Name. Chaining compares bytes. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly subjectEmpty: boolean;
  readonly notBeforeMs: number;
  /** The last second of validity begins here: inclusive (RFC 5280 4.1.2.5). */
  readonly notAfterMs: number;
  readonly spki: Uint8Array;
  readonly keyAlgorithm: KeyAlgorithm;
  /** Imported at first use. @throws {PkiError} public_key_invalid, e.g. for a point that is not on its curve */
  readonly publicKey: KeyObject;
  /** SHA-256 of `der`, lower-case hex. */
  readonly fingerprint: string;
}

/**
 * Reads one X.509 v3 certificate, strictly; the bytes are copied, so the caller's buffer may change afterwards.
 * @param der  nothing before it, nothing behind it, at most 32 KiB
 * @throws {PkiError} der_malformed | der_limit_exceeded | certificate_* | algorithm_unsupported | public_key_*
 * @source RFC 5280 section 4.1
 */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > maxCertificateBytes) {
    throw new PkiError("der_limit_exceeded", `certificate of ${der.length} bytes exceeds the limit of ${maxCertificateBytes}`);
  }
  const bytes = new Uint8Array(der);
  const outer = readerOf(readDer(bytes), tag.sequence);
  const tbsElement = outer.next(tag.sequence);
  const outerAlgorithm = encodedOf(outer.next(tag.sequence));
  const signature = readOctetAlignedBitString(outer.next());
  outer.done();

  const tbs = new DerReader(tbsElement);
  readVersion(tbs);
  const serialNumber = readSerialNumber(tbs);
  const innerAlgorithm = encodedOf(tbs.next(tag.sequence));
  if (Buffer.compare(innerAlgorithm, outerAlgorithm) !== 0) {
    throw new PkiError("certificate_algorithm_mismatch", "signed and outer signature algorithm of the certificate differ");
  }
  const signatureAlgorithm = parseSignatureAlgorithm(outerAlgorithm);
  const issuerElement = tbs.next(tag.sequence);
  if (parseName(issuerElement).empty) throw malformed("the issuer has no name");
  const { notBeforeMs, notAfterMs } = readValidity(tbs);
  const subjectElement = tbs.next(tag.sequence);
  const subjectEmpty = parseName(subjectElement).empty;
  const spki = encodedOf(tbs.next(tag.sequence));
  const { keyAlgorithm } = describeSpki(spki);
  const extensionsElement = tbs.optional(contextConstructed(3));
  // What is left would be a unique identifier: RFC 5280 4.1.2.8 forbids making them, and no name we compare has one.
  tbs.done();
  const extensions = extensionsElement === undefined ? {} : readExplicitExtensions(new DerReader(extensionsElement));
  const issuer = encodedOf(issuerElement);
  const subject = encodedOf(subjectElement);
  checkConsistency(subjectEmpty, extensions);
  const authority = extensions.basicConstraints?.certificateAuthority === true;
  const selfIssuedAuthority = authority && Buffer.compare(issuer, subject) === 0;
  if (serialNumber === serialZero && !selfIssuedAuthority) throw serialInvalid();

  let publicKey: KeyObject | undefined;
  let fingerprint: string | undefined;
  return {
    der: bytes, tbs: encodedOf(tbsElement), serialNumber, signatureAlgorithm, signature, issuer, subject, subjectEmpty,
    notBeforeMs, notAfterMs, spki, keyAlgorithm,
    get publicKey() { return (publicKey ??= importPublicKey(spki).publicKey); },
    get fingerprint() { return (fingerprint ??= hash("sha256", bytes, "hex")); },
    ...extensions,
  };
}

function readVersion(tbs: DerReader): void {
  const explicit = tbs.optional(contextConstructed(0));
  const reader = explicit && new DerReader(explicit);
  const version = reader === undefined ? 0 : readSmallInteger(reader.next());
  reader?.done();
  if (version !== version3) {
    throw new PkiError("certificate_version_unsupported", `certificate has version ${version + 1}; version 3 is needed`);
  }
}

function readSerialNumber(tbs: DerReader): string {
  const octets = readIntegerBytes(tbs.next());
  const [first = 0] = octets;
  if (first >= 0x80 || octets.length > maxSerialOctets) throw serialInvalid();
  return Buffer.from(first === 0 && octets.length > 1 ? octets.subarray(1) : octets).toString("hex");
}

function serialInvalid(): PkiError {
  return new PkiError("certificate_serial_invalid", `serial number must be positive and at most ${maxSerialOctets} octets long`);
}

function readValidity(tbs: DerReader): { notBeforeMs: number; notAfterMs: number } {
  const validity = readerOf(tbs.next(), tag.sequence);
  const [notBeforeMs, notAfterMs] = [readDate(validity), readDate(validity)];
  validity.done();
  if (notBeforeMs > notAfterMs) throw malformed("it ends before it begins");
  return { notBeforeMs, notAfterMs };
}

function readDate(validity: DerReader): number {
  const element = validity.next();
  const dateMs = readTime(element);
  if (element.tag === tag.generalizedTime && dateMs < year2050Ms) throw malformed("a date before 2050 is not a UTCTime");
  return dateMs;
}

function readExplicitExtensions(explicit: DerReader): Extensions {
  const extensions = readExtensions(explicit.next());
  explicit.done();
  return extensions;
}

/** RFC 5280 4.1.2.6: who has no name in the subject has one in a critical subjectAltName. 4.2.1.10: only CAs constrain names. */
function checkConsistency(subjectEmpty: boolean, { subjectAltName, nameConstraints, basicConstraints }: Extensions): void {
  if (subjectEmpty && subjectAltName?.critical !== true) {
    throw new PkiError("certificate_extension_invalid", "the subject is empty, so a critical subjectAltName is needed");
  }
  if (nameConstraints !== undefined && basicConstraints?.certificateAuthority !== true) {
    throw new PkiError("certificate_extension_invalid", "name constraints in a certificate that is not a CA");
  }
}

function malformed(detail: string): PkiError {
  return new PkiError("certificate_malformed", `certificate is not valid: ${detail}`);
}

const version3 = 2;
const maxSerialOctets = 20;
/** RFC 5280 4.1.2.2 wants zero handled gracefully: roots of early SPIRE releases have it, and nobody tells roots apart by it. */
const serialZero = "00";
const year2050Ms = Date.UTC(2050, 0, 1);
/** A workload certificate has about 700 bytes, one with RSA-4096 and a page of names 4 KiB; ML-DSA-65 will need 6 KiB. */
const maxCertificateBytes = 32 * 1024;
