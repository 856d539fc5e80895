import { context, contextConstructed, tag } from "./der-tag.ts";
import {
  contentOf, DerReader, encodedOf, readBoolean, readDer, readerOf, readIntegerBytes, readOctetAlignedBitString, readOctetString, readOid,
  readSmallInteger, readTime, type DerElement,
} from "./der.ts";
import { PkiError } from "./errors.ts";
import { parseSignatureAlgorithm, verifySignature, type SignatureAlgorithm } from "./key.ts";
import type { Certificate } from "./certificate.ts";
import { parseName } from "./name.ts";
import { extensionOid } from "./oid.ts";
import { reasonOf, type CrlReason } from "./revocation-reason.ts";
import { readDistributionPointUrls } from "./revocation-info.ts";

/** A CRL as read, not yet trusted. */
export interface Crl extends TbsCrl {
  readonly der: Uint8Array;
  /** The signed part, a view into `der`. */
  readonly tbs: Uint8Array;
  readonly signature: Uint8Array;
  /** By serial number, lower-case hex. */
  readonly entries: ReadonlyMap<string, RevokedCertificate>;
}

/** What is around the entries of a CRL. */
export interface TbsCrl {
  readonly signatureAlgorithm: SignatureAlgorithm;
  readonly issuer: Uint8Array;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /** The SEQUENCE of entries; absent when nothing is revoked. */
  readonly revokedCertificates: DerElement | undefined;
  readonly authorityKeyIdentifier: Uint8Array;
  readonly number: bigint;
  readonly scope: ReadScope;
}

/** The issuing distribution point; of a CRL without one nothing is restricted. */
export interface ReadScope {
  readonly urls: readonly string[];
  readonly onlyEndEntities: boolean;
  readonly onlyAuthorities: boolean;
}

export interface RevokedCertificate {
  readonly serialNumber: string;
  readonly revokedAtMs: number;
  readonly reason: CrlReason;
}

/**
 * Reads a complete CRL, strictly: version 2, with number and nextUpdate. Deltas, indirect CRLs and CRLs for some reasons only are
 * refused, as are unknown critical extensions.
 * @throws {PkiError} crl_malformed | crl_unsupported | der_malformed | der_limit_exceeded | algorithm_unsupported
 * @source RFC 5280 section 5
 */
export function parseCrl(der: Uint8Array): Crl {
  const bytes = new Uint8Array(der);
  const outer = readerOf(readDer(bytes), tag.sequence);
  const tbs = encodedOf(outer.next(tag.sequence));
  const outerAlgorithm = parseSignatureAlgorithm(encodedOf(outer.next(tag.sequence)));
  const signature = readOctetAlignedBitString(outer.next());
  outer.done();
  const head = parseTbsCrl(tbs);
  if (head.signatureAlgorithm !== outerAlgorithm) throw malformed("signed and outer signature algorithm differ");
  const entries = new Map<string, RevokedCertificate>();
  for (const entry of revokedCertificatesOf(head)) {
    if (entries.has(entry.serialNumber)) throw malformed("a serial number is listed twice");
    entries.set(entry.serialNumber, entry);
  }
  return { der: bytes, tbs, signature, ...head, entries };
}

/** Reads everything but the entries, which may be many. @throws {PkiError} as parseCrl */
export function parseTbsCrl(tbs: Uint8Array): TbsCrl {
  const reader = readerOf(readDer(tbs), tag.sequence);
  if (readSmallInteger(reader.next()) !== version2) throw malformed("it is not version 2");
  const signatureAlgorithm = parseSignatureAlgorithm(encodedOf(reader.next(tag.sequence)));
  const issuerElement = reader.next(tag.sequence);
  if (parseName(issuerElement).empty) throw malformed("the issuer has no name");
  const thisUpdateMs = readDate(reader.next());
  const nextTag = reader.peekTag();
  if (nextTag !== tag.utcTime && nextTag !== tag.generalizedTime) throw malformed("there is no nextUpdate");
  const nextUpdateMs = readDate(reader.next());
  const revokedCertificates = reader.optional(tag.sequence);
  if (revokedCertificates !== undefined && new DerReader(revokedCertificates).finished) throw malformed("the list of entries is empty, not absent");
  const explicit = new DerReader(reader.next(contextConstructed(0)));
  reader.done();
  const extensions = readCrlExtensions(explicit.next());
  explicit.done();
  return { signatureAlgorithm, issuer: encodedOf(issuerElement), thisUpdateMs, nextUpdateMs, revokedCertificates, ...extensions };
}

/** The entries one by one. @throws {PkiError} as parseCrl */
export function* revokedCertificatesOf({ revokedCertificates }: Pick<TbsCrl, "revokedCertificates">): Generator<RevokedCertificate, void> {
  if (revokedCertificates === undefined) return;
  const reader = new DerReader(revokedCertificates);
  while (!reader.finished) yield readRevokedCertificate(reader.next(tag.sequence));
}

/**
 * Verifies that a CRL is its issuer's word about such certificates now.
 * @param check.url  the distribution point of the certificate in question: a CRL that names its own must name this one
 * @throws {PkiError} crl_issuer_mismatch | crl_signer_key_usage | crl_signature_invalid | crl_not_yet_valid | crl_expired | crl_scope_mismatch
 * @source RFC 5280 section 6.3.3
 */
export function verifyCrl(crl: Crl, { issuer, nowMs, of, url }: {
  readonly issuer: Certificate;
  readonly nowMs: number;
  readonly of: "end-entities" | "authorities";
  readonly url?: string;
}): void {
  const { scope } = crl;
  if (Buffer.compare(crl.issuer, issuer.subject) !== 0 || Buffer.compare(crl.authorityKeyIdentifier, issuer.subjectKeyIdentifier ?? new Uint8Array()) !== 0) {
    throw new PkiError("crl_issuer_mismatch", "the CRL is of another issuer");
  }
  if (issuer.keyUsage?.crlSign !== true) throw new PkiError("crl_signer_key_usage", "the CRL's issuer may not sign CRLs");
  if (!verifySignature(crl.signatureAlgorithm, issuer.publicKey, crl.tbs, crl.signature)) {
    throw new PkiError("crl_signature_invalid", "the CRL was not signed by its issuer");
  }
  if (crl.thisUpdateMs > nowMs) throw new PkiError("crl_not_yet_valid", "the CRL is from the future");
  if (crl.nextUpdateMs <= nowMs) throw new PkiError("crl_expired", "the CRL is stale: there should be a newer one");
  if ((of === "end-entities" && scope.onlyAuthorities) || (of === "authorities" && scope.onlyEndEntities)) {
    throw new PkiError("crl_scope_mismatch", "the CRL is about another kind of certificates");
  }
  if (scope.urls.length > 0 && (url === undefined || !scope.urls.includes(url))) {
    throw new PkiError("crl_scope_mismatch", "the CRL is one of several, and not the one that lists this certificate");
  }
}

function readRevokedCertificate(element: DerElement): RevokedCertificate {
  const reader = new DerReader(element);
  const octets = readIntegerBytes(reader.next());
  const serialNumber = hexOf(octets[0] === 0 && octets.length > 1 ? octets.subarray(1) : octets);
  const revokedAtMs = readDate(reader.next());
  const extensions = reader.optional(tag.sequence);
  reader.done();
  return { serialNumber, revokedAtMs, reason: extensions === undefined ? "unspecified" : readReason(extensions) };
}

function readReason(extensions: DerElement): CrlReason {
  let reason: CrlReason = "unspecified";
  for (const { oid, critical, value } of readExtensionList(extensions)) {
    if (oid === extensionOid.reasonCode) {
      if (critical) throw malformed("a reason is critical");
      const name = reasonOf(readSmallInteger(readDer(value), tag.enumerated));
      // 8 takes an entry off again, which only a delta can do.
      if (name === undefined || name === "removeFromCRL") throw malformed("a reason stands for nothing here");
      reason = name;
    } else if (critical) throw unsupported(`an entry has the critical extension ${oid}`);
  }
  return reason;
}

function readCrlExtensions(element: DerElement): Pick<TbsCrl, "authorityKeyIdentifier" | "number" | "scope"> {
  let authorityKeyIdentifier: Uint8Array | undefined;
  let number: bigint | undefined;
  let scope: ReadScope = { urls: [], onlyEndEntities: false, onlyAuthorities: false };
  for (const { oid, critical, value } of readExtensionList(element)) {
    if (oid === extensionOid.authorityKeyIdentifier && !critical) {
      const identifier = new DerReader(readDer(value, tag.sequence)).optional(context(0));
      authorityKeyIdentifier = identifier && contentOf(identifier);
    } else if (oid === extensionOid.crlNumber && !critical) number = readNumber(value);
    else if (oid === extensionOid.issuingDistributionPoint) {
      if (!critical) throw malformed("the issuing distribution point is not critical");
      scope = readScope(value);
    } else if (critical) throw unsupported(`it has the critical extension ${oid}`);
  }
  if (authorityKeyIdentifier === undefined || number === undefined) throw malformed("it has no number or does not say whose key signed it");
  return { authorityKeyIdentifier, number, scope };
}

function readNumber(value: Uint8Array): bigint {
  const octets = readIntegerBytes(readDer(value));
  if ((octets[0] ?? 0) >= 0x80 || octets.length > maxNumberOctets) throw malformed(`its number is negative or longer than ${maxNumberOctets} octets`);
  return BigInt(`0x${hexOf(octets)}`);
}

function readScope(value: Uint8Array): ReadScope {
  const reader = new DerReader(readDer(value, tag.sequence));
  if (reader.finished) throw malformed("the issuing distribution point is empty");
  const name = reader.optional(contextConstructed(0));
  const [onlyEndEntities, onlyAuthorities] = [readFlag(reader, 1), readFlag(reader, 2)];
  if (reader.peekTag() === context(3)) throw unsupported("it is about some reasons only");
  const [indirect, onlyAttributes] = [readFlag(reader, 4), readFlag(reader, 5)];
  reader.done();
  if (indirect || onlyAttributes) throw unsupported("it is indirect or about attribute certificates");
  if (onlyEndEntities && onlyAuthorities) throw malformed("it is about two kinds of certificates at most one of which it can be about");
  return { urls: name === undefined ? [] : readDistributionPointUrls(name), onlyEndEntities, onlyAuthorities };
}

/** [n] IMPLICIT BOOLEAN DEFAULT FALSE: written only where it is TRUE. */
function readFlag(reader: DerReader, number: number): boolean {
  const element = reader.optional(context(number));
  if (element === undefined) return false;
  if (!readBoolean({ ...element, tag: tag.boolean })) throw malformed("FALSE is spelled out");
  return true;
}

function* readExtensionList(element: DerElement): Generator<{ readonly oid: string; readonly critical: boolean; readonly value: Uint8Array }, void> {
  const reader = readerOf(element, tag.sequence);
  if (reader.finished) throw malformed("a list of extensions is empty");
  const seen = new Set<string>();
  while (!reader.finished) {
    const extension = readerOf(reader.next(), tag.sequence);
    const oid = readOid(extension.next());
    const criticalElement = extension.optional(tag.boolean);
    const critical = criticalElement !== undefined && readBoolean(criticalElement);
    if (criticalElement !== undefined && !critical) throw malformed("critical FALSE is spelled out");
    const value = readOctetString(extension.next());
    extension.done();
    if (seen.has(oid)) throw malformed(`extension ${oid} is there twice`);
    seen.add(oid);
    yield { oid, critical, value };
  }
}

/** RFC 5280 5.1.2.4: UTCTime through 2049. */
function readDate(element: DerElement): number {
  const dateMs = readTime(element);
  if (element.tag === tag.generalizedTime && dateMs < year2050Ms) throw malformed("a date before 2050 is not a UTCTime");
  return dateMs;
}

function hexOf(octets: Uint8Array): string {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.length).toString("hex");
}

function malformed(detail: string): PkiError {
  return new PkiError("crl_malformed", `CRL is not valid: ${detail}`);
}

function unsupported(detail: string): PkiError {
  return new PkiError("crl_unsupported", `CRL is of a kind that is not understood: ${detail}`);
}

const version2 = 1;
/** RFC 5280 5.2.3. */
const maxNumberOctets = 20;
const year2050Ms = Date.UTC(2050, 0, 1);
