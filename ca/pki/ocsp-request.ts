import { hash } from "node:crypto";
import { contextConstructed, tag } from "./der-tag.ts";
import {
  contentOf, DerReader, encodedOf, readBoolean, readDer, readerOf, readIntegerBytes, readOctetString, readOid, readSmallInteger, type DerElement,
} from "./der.ts";
import { PkiError } from "./errors.ts";
import { keyBitsOf } from "./key.ts";
import { digestOid, extensionOid } from "./oid.ts";

/** Which certificates somebody asks about. */
export interface OcspRequest {
  readonly certIds: readonly OcspCertId[];
  /** 1 to 128 octets, to be sent back. */
  readonly nonce?: Uint8Array;
}

export interface OcspCertId {
  /** The whole element: an answer repeats it. */
  readonly encoded: Uint8Array;
  readonly digest: "sha1" | "sha256";
  readonly issuerNameHash: Uint8Array;
  readonly issuerKeyHash: Uint8Array;
  /** Lower-case hex, two digits an octet, without the sign octet. */
  readonly serialNumber: string;
}

/**
 * Reads an OCSPRequest. A signature on it is not looked at: everybody may ask.
 * @throws {PkiError} ocsp_request_malformed | der_malformed, also for more than 16 certificates and a nonce of 0 or above 128 octets
 * @source RFC 6960 section 4.1.1, RFC 9654 section 2.1
 */
export function parseOcspRequest(der: Uint8Array): OcspRequest {
  if (der.length > maxRequestBytes) throw malformed(`it is longer than ${maxRequestBytes} bytes`);
  const outer = readerOf(readDer(der), tag.sequence);
  const tbs = new DerReader(outer.next(tag.sequence));
  const signature = outer.optional(contextConstructed(0));
  outer.done();
  const version = tbs.optional(contextConstructed(0));
  if (version !== undefined && readSmallInteger(new DerReader(version).next()) !== version1) throw malformed("it is not version 1");
  tbs.optional(contextConstructed(1));
  const list = new DerReader(tbs.next(tag.sequence));
  const explicit = tbs.optional(contextConstructed(2));
  tbs.done();
  const certIds: OcspCertId[] = [];
  while (!list.finished) {
    if (certIds.length === maxCertIds) throw malformed(`it asks about more than ${maxCertIds} certificates`);
    certIds.push(readRequest(list.next(tag.sequence)));
  }
  if (certIds.length === 0) throw malformed("it asks about no certificate");
  if (signature !== undefined && new DerReader(signature).finished) throw malformed("its signature is empty");
  const nonce = explicit && readNonce(new DerReader(explicit).next());
  return { certIds, ...(nonce && { nonce }) };
}

/** Whether a CertID is of a certificate by this issuer. @source RFC 6960 section 4.1.1 */
export function isIssuedBy({ digest, issuerNameHash, issuerKeyHash }: OcspCertId, issuer: { readonly subject: Uint8Array; readonly spki: Uint8Array }): boolean {
  return Buffer.compare(hash(digest, issuer.subject, "buffer"), issuerNameHash) === 0
    && Buffer.compare(hash(digest, keyBitsOf(issuer.spki), "buffer"), issuerKeyHash) === 0;
}

function readRequest(element: DerElement): OcspCertId {
  const reader = new DerReader(element);
  const certId = readCertId(reader.next(tag.sequence));
  const explicit = reader.optional(contextConstructed(0));
  reader.done();
  if (explicit !== undefined) readExtensions(new DerReader(explicit).next());
  return certId;
}

function readCertId(element: DerElement): OcspCertId {
  const reader = new DerReader(element);
  const algorithm = new DerReader(reader.next(tag.sequence));
  const oid = readOid(algorithm.next());
  // Parameters are NULL or absent (RFC 5754 section 2).
  algorithm.optional(tag.null);
  algorithm.done();
  const digest = oid === digestOid.sha1 ? "sha1" : oid === digestOid.sha256 ? "sha256" : undefined;
  if (digest === undefined) throw malformed("it names the issuer by another hash than SHA-1 and SHA-256");
  const [issuerNameHash, issuerKeyHash] = [readOctetString(reader.next()), readOctetString(reader.next())];
  const octets = readIntegerBytes(reader.next());
  reader.done();
  if (octets.length > maxSerialOctets || octets[0]! >= 0x80) throw malformed("a serial number is negative or too long");
  const serial = octets[0] === 0 && octets.length > 1 ? octets.subarray(1) : octets;
  return { encoded: encodedOf(element), digest, issuerNameHash, issuerKeyHash, serialNumber: Buffer.from(serial).toString("hex") };
}

function readNonce(extensions: DerElement): Uint8Array | undefined {
  const value = readExtensions(extensions).get(extensionOid.ocspNonce);
  if (value === undefined) return undefined;
  const nonce = readOctetString(readDer(value));
  if (nonce.length === 0 || nonce.length > maxNonceOctets) throw malformed(`its nonce does not have 1 to ${maxNonceOctets} octets`);
  return nonce;
}

/** @throws {PkiError} for a critical one that is not known */
function readExtensions(element: DerElement): ReadonlyMap<string, Uint8Array> {
  const values = new Map<string, Uint8Array>();
  const reader = readerOf(element, tag.sequence);
  while (!reader.finished) {
    const extension = new DerReader(reader.next(tag.sequence));
    const oid = readOid(extension.next());
    const critical = extension.optional(tag.boolean);
    const value = contentOf(extension.next(tag.octetString));
    extension.done();
    if (values.has(oid)) throw malformed(`extension ${oid} is there twice`);
    if (critical !== undefined && readBoolean(critical) && oid !== extensionOid.ocspNonce) throw malformed(`it has the critical extension ${oid}`);
    values.set(oid, value);
  }
  return values;
}

function malformed(detail: string): PkiError {
  return new PkiError("ocsp_request_malformed", `OCSP request is not answered: ${detail}`);
}

const version1 = 0;
/** Sixteen CertIDs by SHA-256, a nonce and a requestor's name have 2 KiB. */
export const maxRequestBytes = 4 * 1024;
const maxCertIds = 16;
/** RFC 9654. */
const maxNonceOctets = 128;
const maxSerialOctets = 20;
