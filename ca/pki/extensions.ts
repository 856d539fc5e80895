import { context, contextConstructed, tag } from "./der-tag.ts";
import {
  contentOf, DerReader, readBitString, readBoolean, readDer, readerOf, readNull, readOctetString, readOid, readSmallInteger, type DerElement,
} from "./der.ts";
import { PkiError } from "./errors.ts";
import { readGeneralNames, readNameSubtrees, type GeneralNames, type NameSubtrees } from "./general-name.ts";
import { extensionOid } from "./oid.ts";
import { readRevocationInfo } from "./revocation-info.ts";

/** The extensions that bear on trust. An absent one is undefined. */
export interface Extensions {
  readonly basicConstraints?: BasicConstraints;
  readonly keyUsage?: KeyUsage;
  readonly extendedKeyUsage?: ExtendedKeyUsage;
  readonly subjectAltName?: SubjectAltName;
  readonly authorityKeyIdentifier?: Uint8Array;
  readonly subjectKeyIdentifier?: Uint8Array;
  readonly nameConstraints?: NameConstraints;
  /** True for a certificate whose revocation nobody publishes; a deny-list applies all the same. @source RFC 9608 */
  readonly noRevocationAvailable?: true;
}

export interface BasicConstraints {
  readonly critical: boolean;
  readonly certificateAuthority: boolean;
  /** Intermediates allowed below, self-issued ones not counted. */
  readonly pathLength?: number;
}

export interface KeyUsage {
  readonly critical: boolean;
  readonly digitalSignature: boolean;
  readonly keyEncipherment: boolean;
  readonly keyAgreement: boolean;
  readonly keyCertSign: boolean;
  readonly crlSign: boolean;
}

export interface ExtendedKeyUsage {
  readonly critical: boolean;
  /** OIDs, dotted. */
  readonly purposes: readonly string[];
}

export interface SubjectAltName extends GeneralNames {
  readonly critical: boolean;
}

export interface NameConstraints {
  readonly permitted?: NameSubtrees;
  readonly excluded?: NameSubtrees;
}

/**
 * Reads Extensions. One we do not process is ignored if it is not critical and refused if it is; policies are not
 * processed, so a chain that demands them is refused.
 * @throws {PkiError} certificate_extension_duplicate | certificate_extension_critical_unknown |
 *                    certificate_extension_invalid | der_malformed
 * @source RFC 5280 section 4.2
 */
export function readExtensions(element: DerElement): Extensions {
  const extensions: { -readonly [Key in keyof Extensions]: Extensions[Key] } = {};
  const seen = new Set<string>();
  const reader = readerOf(element, tag.sequence);
  if (reader.finished) throw invalid("the list of extensions is empty");
  while (!reader.finished) {
    const extension = readerOf(reader.next(), tag.sequence);
    const oid = readOid(extension.next());
    const criticalElement = extension.optional(tag.boolean);
    const critical = criticalElement !== undefined && readBoolean(criticalElement);
    // X.690 11.5: a value equal to its DEFAULT is not encoded.
    if (criticalElement !== undefined && !critical) throw invalid("critical FALSE is spelled out");
    const value = readOctetString(extension.next());
    extension.done();
    if (seen.has(oid)) throw new PkiError("certificate_extension_duplicate", `certificate has extension ${oid} twice`);
    seen.add(oid);
    switch (oid) {
      case extensionOid.basicConstraints: extensions.basicConstraints = readBasicConstraints(value, critical); break;
      case extensionOid.keyUsage: extensions.keyUsage = readKeyUsage(value, critical); break;
      case extensionOid.extKeyUsage: extensions.extendedKeyUsage = readExtendedKeyUsage(value, critical); break;
      case extensionOid.subjectAltName:
        extensions.subjectAltName = { critical, ...readGeneralNames(readDer(value, tag.sequence)) };
        break;
      case extensionOid.nameConstraints:
        if (!critical) throw invalid("name constraints are not critical");
        extensions.nameConstraints = readNameConstraints(value);
        break;
      case extensionOid.authorityKeyIdentifier:
        if (critical) throw invalid("the authority key identifier is critical");
        extensions.authorityKeyIdentifier = readAuthorityKeyIdentifier(value);
        break;
      case extensionOid.subjectKeyIdentifier:
        if (critical) throw invalid("the subject key identifier is critical");
        extensions.subjectKeyIdentifier = readSubjectKeyIdentifier(value);
        break;
      case extensionOid.noRevocationAvailable:
        if (critical) throw invalid("noRevAvail is critical");
        readNull(readDer(value));
        extensions.noRevocationAvailable = true;
        break;
      default:
        if (critical) {
          throw new PkiError("certificate_extension_critical_unknown", `certificate has critical extension ${oid}, unknown to us`);
        }
        if (mustBeCritical.has(oid)) throw invalid(`extension ${oid} must be critical`);
    }
  }
  if (extensions.noRevocationAvailable) checkNoRevocation(extensions, seen, element);
  return extensions;
}

/** RFC 9608 section 3: who says that there is none must not say where it is, and no CA says it. */
function checkNoRevocation({ basicConstraints }: Extensions, seen: ReadonlySet<string>, element: DerElement): void {
  if (basicConstraints?.certificateAuthority === true) throw invalid("noRevAvail in the certificate of a CA");
  const pointer = seen.has(extensionOid.crlDistributionPoints) || seen.has(extensionOid.freshestCrl) || readRevocationInfo(element).ocspUrls.length > 0;
  if (pointer) throw invalid("noRevAvail beside the place of a CRL or of OCSP");
}

function readBasicConstraints(value: Uint8Array, critical: boolean): BasicConstraints {
  const reader = readerOf(readDer(value), tag.sequence);
  const authorityElement = reader.optional(tag.boolean);
  const certificateAuthority = authorityElement !== undefined && readBoolean(authorityElement);
  if (authorityElement !== undefined && !certificateAuthority) throw invalid("cA FALSE is spelled out");
  const pathLength = reader.finished ? undefined : readSmallInteger(reader.next());
  reader.done();
  if (pathLength === undefined) return { critical, certificateAuthority };
  if (!certificateAuthority) throw invalid("a path length without cA");
  return { critical, certificateAuthority, pathLength };
}

function readKeyUsage(value: Uint8Array, critical: boolean): KeyUsage {
  const { bits, unusedBits } = readBitString(readDer(value));
  const [first = 0, second = 0] = bits;
  // X.690 11.2.2: the last bit encoded is a set one. RFC 5280 4.2.1.3: there is one; nine are defined.
  const lowest = ((bits.at(-1) ?? 0) >> unusedBits) & 1;
  if (lowest !== 1 || bits.length > 2 || (second & 0x7f) !== 0) throw invalid("key usage is empty or not DER");
  const bit = (index: number): boolean => (first & (0x80 >> index)) !== 0;
  return {
    critical, digitalSignature: bit(0), keyEncipherment: bit(2), keyAgreement: bit(4), keyCertSign: bit(5), crlSign: bit(6),
  };
}

function readExtendedKeyUsage(value: Uint8Array, critical: boolean): ExtendedKeyUsage {
  const reader = readerOf(readDer(value), tag.sequence);
  if (reader.finished) throw invalid("extended key usage is empty");
  const purposes: string[] = [];
  while (!reader.finished) purposes.push(readOid(reader.next()));
  return { critical, purposes };
}

/** The issuer and serial number that may stand beside the key identifier (easy-rsa writes them) are hints: not compared. */
function readAuthorityKeyIdentifier(value: Uint8Array): Uint8Array {
  const reader = readerOf(readDer(value), tag.sequence);
  const keyIdentifier = reader.optional(context(0));
  const issuer = reader.optional(contextConstructed(1));
  const serialNumber = reader.optional(context(2));
  reader.done();
  if (keyIdentifier === undefined || contentOf(keyIdentifier).length === 0) {
    throw invalid("the authority key identifier has no key identifier");
  }
  if (issuer !== undefined) readGeneralNames(issuer);
  if ((issuer === undefined) !== (serialNumber === undefined)) {
    throw invalid("the authority key identifier has only one of issuer and serial number");
  }
  return contentOf(keyIdentifier);
}

function readSubjectKeyIdentifier(value: Uint8Array): Uint8Array {
  const identifier = readOctetString(readDer(value));
  if (identifier.length === 0) throw invalid("the subject key identifier is empty");
  return identifier;
}

function readNameConstraints(value: Uint8Array): NameConstraints {
  const reader = new DerReader(readDer(value, tag.sequence));
  const permitted = reader.optional(contextConstructed(0));
  const excluded = reader.optional(contextConstructed(1));
  reader.done();
  if (permitted === undefined && excluded === undefined) throw invalid("name constraints are empty");
  return {
    ...(permitted && { permitted: readNameSubtrees(permitted) }),
    ...(excluded && { excluded: readNameSubtrees(excluded) }),
  };
}

function invalid(detail: string): PkiError {
  return new PkiError("certificate_extension_invalid", `certificate extension is not valid: ${detail}`);
}

/** RFC 5280 4.2.1.11 and 4.2.1.14. Being critical, they are then refused as not processed. */
const mustBeCritical: ReadonlySet<string> = new Set([extensionOid.policyConstraints, extensionOid.inhibitAnyPolicy]);
