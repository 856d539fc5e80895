import { context, contextConstructed, tag } from "../pki/der-tag.ts";
import { contentOf, DerReader, encodedOf, readBoolean, readDer, readOctetString, readOid, type DerElement } from "../pki/der.ts";

/**
 * The parts of a TBSCertificate, taken apart and not judged: each rule must be able to say that it, and only it, is broken. The
 * kernel's parser refuses at the first fault, which is right for certificates of others and useless here.
 */
export interface TbsView {
  readonly bytes: Uint8Array;
  /** The [0] element, whole; undefined where the default, version 1, stands. */
  readonly version: Uint8Array | undefined;
  /** Content octets of the INTEGER. */
  readonly serialNumber: Uint8Array;
  readonly signatureAlgorithm: Uint8Array;
  readonly issuer: Uint8Array;
  readonly notBefore: DerElement;
  readonly notAfter: DerElement;
  readonly subject: Uint8Array;
  readonly spki: Uint8Array;
  readonly hasUniqueIdentifiers: boolean;
  readonly extensions: readonly ExtensionView[];
}

/** One Extension, its value as octets. */
export interface ExtensionView {
  readonly oid: string;
  readonly critical: boolean;
  /** Content of extnValue. */
  readonly value: Uint8Array;
}

/**
 * Takes a TBSCertificate apart.
 * @throws {PkiError} der_malformed when not even the structure is there
 */
export function viewTbs(bytes: Uint8Array): TbsView {
  const tbs = new DerReader(readDer(bytes, tag.sequence));
  const version = tbs.optional(contextConstructed(0));
  const serialNumber = contentOf(tbs.next(tag.integer));
  const signatureAlgorithm = encodedOf(tbs.next(tag.sequence));
  const issuer = encodedOf(tbs.next(tag.sequence));
  const validity = new DerReader(tbs.next(tag.sequence));
  const [notBefore, notAfter] = [validity.next(), validity.next()];
  validity.done();
  const subject = encodedOf(tbs.next(tag.sequence));
  const spki = encodedOf(tbs.next(tag.sequence));
  const identifiers = [tbs.optional(context(1)), tbs.optional(context(2))];
  const explicit = tbs.optional(contextConstructed(3));
  tbs.done();
  return {
    bytes, version: version && encodedOf(version), serialNumber, signatureAlgorithm, issuer, notBefore, notAfter, subject, spki,
    hasUniqueIdentifiers: identifiers.some((identifier) => identifier !== undefined),
    extensions: explicit === undefined ? [] : viewExtensions(new DerReader(explicit).next(tag.sequence)),
  };
}

/** Takes Extensions apart, those of a certificate, a CRL, a CRL entry or an OCSP response. */
export function viewExtensions(element: DerElement): readonly ExtensionView[] {
  const reader = new DerReader(element);
  const extensions: ExtensionView[] = [];
  while (!reader.finished) {
    const extension = new DerReader(reader.next(tag.sequence));
    const oid = readOid(extension.next());
    const critical = extension.optional(tag.boolean);
    const value = readOctetString(extension.next());
    extension.done();
    extensions.push({ oid, critical: critical !== undefined && readBoolean(critical), value });
  }
  return extensions;
}

/** The first extension of a kind; that there is only one is a rule of its own. */
export function extensionOf({ extensions }: { readonly extensions: readonly ExtensionView[] }, oid: string): ExtensionView | undefined {
  return extensions.find((extension) => extension.oid === oid);
}

/** The OIDs that occur more than once. */
export function repeatedOids(extensions: readonly ExtensionView[]): readonly string[] {
  const oids = extensions.map(({ oid }) => oid);
  return oids.filter((oid, index) => oids.indexOf(oid) !== index);
}

/** True for a Name without a part. */
export function isEmptyName(name: Uint8Array): boolean {
  return name.length <= 2;
}
