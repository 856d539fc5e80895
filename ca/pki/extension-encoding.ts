import {
  encodeBoolean, encodeDer, encodeIa5String, encodeNamedBits, encodeNull, encodeOctetString, encodeOid, encodeSequence, encodeSmallInteger,
} from "./der-encoding.ts";
import { context, contextConstructed } from "./der-tag.ts";
import { accessMethodOid, extensionOid, extKeyUsageOid } from "./oid.ts";

/** Bits of keyUsage, by the names of RFC 5280 section 4.2.1.3. */
export type KeyUsageBit = keyof typeof keyUsageBits;
export type ExtKeyUsagePurpose = keyof typeof extKeyUsageOid;

/** Names of a subjectAltName, written in this order: URIs, DNS names, IP addresses (4 or 16 octets each). */
export interface AltNames {
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly Uint8Array[];
  /** Whether DNS names come before URIs; default no. */
  readonly dnsFirst?: boolean;
}

/** One side of name constraints. A URI constraint is a host or ".domain"; an IP range is address and mask, 8 or 32 octets. */
export interface NameSubtreeFields {
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ipRanges?: readonly Uint8Array[];
}

/** Where the status of a certificate can be asked for; nothing where it is all absent. */
export interface RevocationInfo {
  /** The one CRL that lists the certificate should it be revoked. */
  readonly crlUrl?: string;
  readonly ocspUrl?: string;
  /** Where the issuer's certificate is, DER. */
  readonly issuerUrl?: string;
  /** Says that it is too short-lived for any of this: never together with a CRL or OCSP. @source RFC 9608 */
  readonly noRevocationAvailable?: boolean;
}

/** The extensions we write, in the order we write them. An absent field is an absent extension. */
export interface ExtensionFields {
  /** Always critical; `{ certificateAuthority: false }` becomes the empty SEQUENCE. */
  readonly basicConstraints?: { readonly certificateAuthority: boolean; readonly pathLength?: number };
  /** Always critical. */
  readonly keyUsage?: readonly KeyUsageBit[];
  readonly extKeyUsage?: readonly ExtKeyUsagePurpose[];
  /** Always critical. */
  readonly nameConstraints?: { readonly permitted?: NameSubtreeFields; readonly excluded?: NameSubtreeFields };
  readonly authorityKeyIdentifier?: Uint8Array;
  readonly revocationInfo?: RevocationInfo;
  /** For the certificate of an OCSP signer: its own status is not asked for. @source RFC 6960 section 4.2.2.2.1 */
  readonly ocspNoCheck?: boolean;
  readonly subjectKeyIdentifier?: Uint8Array;
  /** Critical exactly if the subject is empty. */
  readonly subjectAltName?: AltNames;
}

/**
 * The Extension elements, concatenated without the SEQUENCE around them, so that a template can go on behind them.
 * @throws {RangeError} for what RFC 5280 does not allow: that is our own bug, not bad input
 * @source RFC 5280 section 4.2.1
 */
export function encodeExtensions(fields: ExtensionFields, subjectEmpty: boolean): Uint8Array[] {
  const { basicConstraints, keyUsage, extKeyUsage, nameConstraints } = fields;
  const { authorityKeyIdentifier, revocationInfo, ocspNoCheck, subjectKeyIdentifier, subjectAltName } = fields;
  const encoded: Uint8Array[] = [];
  if (basicConstraints) encoded.push(encodeBasicConstraints(basicConstraints));
  if (keyUsage) encoded.push(encodeKeyUsage(keyUsage));
  if (extKeyUsage) encoded.push(encodeExtKeyUsage(extKeyUsage));
  if (nameConstraints) encoded.push(encodeNameConstraints(nameConstraints));
  if (authorityKeyIdentifier) encoded.push(encodeAuthorityKeyIdentifier(authorityKeyIdentifier));
  if (revocationInfo) encoded.push(...encodeRevocationInfo(revocationInfo));
  if (ocspNoCheck === true) encoded.push(encodeExtension(encodeOid(extensionOid.ocspNoCheck), false, encodeNull()));
  if (subjectKeyIdentifier) encoded.push(encodeSubjectKeyIdentifier(subjectKeyIdentifier));
  if (subjectAltName) encoded.push(encodeSubjectAltName(subjectAltName, subjectEmpty));
  return encoded;
}

/** Encodes subjectKeyIdentifier. @source RFC 5280 4.2.1.2 */
export function encodeSubjectKeyIdentifier(keyIdentifier: Uint8Array): Uint8Array {
  return encodeExtension(subjectKeyIdentifierOid, false, encodeOctetString(keyIdentifier));
}

/** @throws {RangeError} without a name */
export function encodeSubjectAltName({ uris = [], dnsNames = [], ipAddresses = [], dnsFirst = false }: AltNames, critical: boolean): Uint8Array {
  const names: Uint8Array[] = [];
  for (const uri of uris) names.push(encodeIa5String(uri, uriTag));
  const dns = dnsNames.map((dnsName) => encodeIa5String(dnsName, dnsTag));
  if (dnsFirst) names.unshift(...dns);
  else names.push(...dns);
  for (const address of ipAddresses) names.push(encodeIp(address, [4, 16]));
  if (names.length === 0) throw new RangeError("subjectAltName needs a name");
  return encodeExtension(subjectAltNameOid, critical, encodeSequence(...names));
}

/**
 * The name of a distribution point, as it stands in a certificate and in the CRL it leads to.
 * @source RFC 5280 sections 4.2.1.13 and 5.2.5
 */
export function encodeDistributionPointName(url: string): Uint8Array {
  return encodeDer(contextConstructed(0), encodeDer(contextConstructed(0), encodeIa5String(url, uriTag)));
}

/** @throws {RangeError} for noRevocationAvailable together with what it rules out */
function encodeRevocationInfo({ crlUrl, ocspUrl, issuerUrl, noRevocationAvailable }: RevocationInfo): Uint8Array[] {
  const encoded: Uint8Array[] = [];
  if (crlUrl !== undefined) {
    const point = encodeSequence(encodeDistributionPointName(crlUrl));
    encoded.push(encodeExtension(encodeOid(extensionOid.crlDistributionPoints), false, encodeSequence(point)));
  }
  const accesses = [
    ...(ocspUrl === undefined ? [] : [encodeAccess(accessMethodOid.ocsp, ocspUrl)]),
    ...(issuerUrl === undefined ? [] : [encodeAccess(accessMethodOid.caIssuers, issuerUrl)]),
  ];
  if (accesses.length > 0) encoded.push(encodeExtension(encodeOid(extensionOid.authorityInfoAccess), false, encodeSequence(...accesses)));
  if (noRevocationAvailable === true) {
    if (crlUrl !== undefined || ocspUrl !== undefined) throw new RangeError("either revocation is available or it is not");
    encoded.push(encodeExtension(encodeOid(extensionOid.noRevocationAvailable), false, encodeNull()));
  }
  return encoded;
}

function encodeAccess(method: string, url: string): Uint8Array {
  return encodeSequence(encodeOid(method), encodeIa5String(url, uriTag));
}

function encodeBasicConstraints(fields: NonNullable<ExtensionFields["basicConstraints"]>): Uint8Array {
  const { certificateAuthority, pathLength } = fields;
  if (pathLength !== undefined && !certificateAuthority) throw new RangeError("only a CA has a path length");
  const value: Uint8Array[] = [];
  // X.690 11.5: cA FALSE is the default and so not written.
  if (certificateAuthority) value.push(encodeBoolean(true));
  if (pathLength !== undefined) value.push(encodeSmallInteger(pathLength));
  return encodeExtension(encodeOid(extensionOid.basicConstraints), true, encodeSequence(...value));
}

function encodeKeyUsage(bits: readonly KeyUsageBit[]): Uint8Array {
  if (bits.length === 0) throw new RangeError("keyUsage needs a bit");
  return encodeExtension(encodeOid(extensionOid.keyUsage), true, encodeNamedBits(bits.map((bit) => keyUsageBits[bit])));
}

function encodeExtKeyUsage(purposes: readonly ExtKeyUsagePurpose[]): Uint8Array {
  if (purposes.length === 0) throw new RangeError("extKeyUsage needs a purpose");
  const oids = purposes.map((purpose) => encodeOid(extKeyUsageOid[purpose]));
  return encodeExtension(encodeOid(extensionOid.extKeyUsage), false, encodeSequence(...oids));
}

function encodeNameConstraints({ permitted, excluded }: NonNullable<ExtensionFields["nameConstraints"]>): Uint8Array {
  const sides: Uint8Array[] = [];
  if (permitted) sides.push(encodeDer(contextConstructed(0), ...encodeSubtrees(permitted)));
  if (excluded) sides.push(encodeDer(contextConstructed(1), ...encodeSubtrees(excluded)));
  if (sides.length === 0) throw new RangeError("name constraints permit or exclude something");
  return encodeExtension(encodeOid(extensionOid.nameConstraints), true, encodeSequence(...sides));
}

/** GeneralSubtree has minimum 0, the default, and no maximum: its only element is the name. */
function encodeSubtrees({ uris = [], dnsNames = [], ipRanges = [] }: NameSubtreeFields): Uint8Array[] {
  const bases = [
    ...uris.map((host) => encodeIa5String(host, uriTag)),
    ...dnsNames.map((domain) => encodeIa5String(domain, dnsTag)),
    ...ipRanges.map((range) => encodeIp(range, [8, 32])),
  ];
  if (bases.length === 0) throw new RangeError("a side of name constraints is not empty");
  return bases.map((base) => encodeSequence(base));
}

function encodeAuthorityKeyIdentifier(keyIdentifier: Uint8Array): Uint8Array {
  const value = encodeSequence(encodeDer(context(0), keyIdentifier));
  return encodeExtension(encodeOid(extensionOid.authorityKeyIdentifier), false, value);
}

function encodeIp(octets: Uint8Array, lengths: readonly number[]): Uint8Array {
  if (!lengths.includes(octets.length)) throw new RangeError(`an IP address here has ${lengths.join(" or ")} octets`);
  return encodeDer(ipTag, octets);
}

/** One Extension; critical FALSE is the default and so not written. */
export function encodeExtension(oid: Uint8Array, critical: boolean, value: Uint8Array): Uint8Array {
  return critical
    ? encodeSequence(oid, encodedTrue, encodeOctetString(value))
    : encodeSequence(oid, encodeOctetString(value));
}

/** Numbers of the keyUsage bits. @source RFC 5280 section 4.2.1.3 */
export const keyUsageBits = {
  digitalSignature: 0,
  nonRepudiation: 1,
  keyEncipherment: 2,
  dataEncipherment: 3,
  keyAgreement: 4,
  keyCertSign: 5,
  crlSign: 6,
  encipherOnly: 7,
  decipherOnly: 8,
} as const;

// GeneralName, RFC 5280 section 4.2.1.6.
const dnsTag = context(2);
const uriTag = context(6);
const ipTag = context(7);

// Encoded once: these are written for every certificate.
const subjectKeyIdentifierOid = encodeOid(extensionOid.subjectKeyIdentifier);
const subjectAltNameOid = encodeOid(extensionOid.subjectAltName);
const encodedTrue = encodeBoolean(true);
