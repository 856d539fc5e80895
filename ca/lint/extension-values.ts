import { context, tag } from "../pki/der-tag.ts";
import { contentOf, DerReader, readBitString, readBoolean, readDer, readOctetString, readOid, readSmallInteger, type DerElement } from "../pki/der.ts";
import { extensionOid } from "../pki/oid.ts";
import { extensionOf, type ExtensionView, type TbsView } from "./tbs-view.ts";

/** Values of extensions, read without judging them. Undefined means that the extension is absent. */

export interface KeyUsageView {
  readonly critical: boolean;
  readonly bits: Uint8Array;
  readonly unusedBits: number;
  /** By the number of RFC 5280 4.2.1.3. */
  has(bit: number): boolean;
}

/** Reads keyUsage; undefined where there is none. */
export function keyUsageOf(view: TbsView): KeyUsageView | undefined {
  const extension = extensionOf(view, extensionOid.keyUsage);
  if (extension === undefined) return undefined;
  const { bits, unusedBits } = readBitString(readDer(extension.value));
  return { critical: extension.critical, bits, unusedBits, has: (bit) => ((bits[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0 };
}

export interface BasicConstraintsView {
  readonly critical: boolean;
  readonly certificateAuthority: boolean;
  readonly pathLength: number | undefined;
}

/** Reads basicConstraints; undefined where there is none. */
export function basicConstraintsOf(view: TbsView): BasicConstraintsView | undefined {
  const extension = extensionOf(view, extensionOid.basicConstraints);
  if (extension === undefined) return undefined;
  const reader = new DerReader(readDer(extension.value, tag.sequence));
  const authority = reader.optional(tag.boolean);
  const pathLength = reader.finished ? undefined : readSmallInteger(reader.next());
  return { critical: extension.critical, certificateAuthority: authority !== undefined && readBoolean(authority), pathLength };
}

/** OIDs of extKeyUsage. */
export function purposesOf(view: TbsView): readonly string[] | undefined {
  const extension = extensionOf(view, extensionOid.extKeyUsage);
  return extension && itemsOf(extension).map(readOid);
}

/** The GeneralNames of the subjectAltName. */
export function altNamesOf(view: TbsView): { readonly critical: boolean; readonly names: readonly DerElement[] } | undefined {
  const extension = extensionOf(view, extensionOid.subjectAltName);
  return extension && { critical: extension.critical, names: itemsOf(extension) };
}

/** The keyIdentifier; undefined also for an extension without one. */
export function authorityKeyIdentifierOf(view: TbsView): Uint8Array | undefined {
  const extension = extensionOf(view, extensionOid.authorityKeyIdentifier);
  const [first] = extension === undefined ? [] : itemsOf(extension);
  return first?.tag === context(0) ? contentOf(first) : undefined;
}

/** Reads subjectKeyIdentifier; undefined where there is none. */
export function subjectKeyIdentifierOf(view: TbsView): Uint8Array | undefined {
  const extension = extensionOf(view, extensionOid.subjectKeyIdentifier);
  return extension && readOctetString(readDer(extension.value));
}

/** The elements of an extension whose value is a SEQUENCE. */
export function itemsOf({ value }: ExtensionView): readonly DerElement[] {
  return childrenOf(readDer(value, tag.sequence));
}

/** The elements in a constructed one. */
export function childrenOf(element: DerElement): readonly DerElement[] {
  const reader = new DerReader(element);
  const children: DerElement[] = [];
  while (!reader.finished) children.push(reader.next());
  return children;
}

/** Text of a name with a string tag, octet by octet, so that no octet is lost. */
export function latin1Of(element: DerElement): string {
  return Buffer.from(contentOf(element)).toString("latin1");
}

/** GeneralName tags, RFC 5280 4.2.1.6. */
export const nameTag = { email: 0x81, dnsName: 0x82, directoryName: 0xa4, uri: 0x86, ipAddress: 0x87 } as const;
