import { context, contextConstructed, tag } from "./der-tag.ts";
import { asciiOf, contentOf, DerReader, readDer, readerOf, readOctetString, readOid, type DerElement } from "./der.ts";
import { accessMethodOid, extensionOid } from "./oid.ts";

/** Where a certificate says that its status can be asked for. */
export interface RevocationPointers {
  /** Of the full names of its CRL distribution points. */
  readonly crlUrls: readonly string[];
  readonly ocspUrls: readonly string[];
  /** Where its issuer's certificate is. */
  readonly issuerUrls: readonly string[];
}

/**
 * Reads them from Extensions; what is no URL is passed over.
 * @param extensions  the SEQUENCE, already read once by `readExtensions`
 * @throws {PkiError} der_malformed
 * @source RFC 5280 sections 4.2.1.13 and 4.2.2.1
 */
export function readRevocationInfo(extensions: DerElement): RevocationPointers {
  const crlUrls: string[] = [];
  const ocspUrls: string[] = [];
  const issuerUrls: string[] = [];
  const reader = readerOf(extensions, tag.sequence);
  while (!reader.finished) {
    const extension = readerOf(reader.next(), tag.sequence);
    const oid = readOid(extension.next());
    extension.optional(tag.boolean);
    const value = readOctetString(extension.next());
    if (oid === extensionOid.crlDistributionPoints) crlUrls.push(...readCrlUrls(value));
    if (oid !== extensionOid.authorityInfoAccess) continue;
    for (const { method, url } of readAccesses(value)) {
      if (method === accessMethodOid.ocsp) ocspUrls.push(url);
      if (method === accessMethodOid.caIssuers) issuerUrls.push(url);
    }
  }
  return { crlUrls, ocspUrls, issuerUrls };
}

/** The same, from a certificate's signed part. */
export function revocationInfoOf({ tbs }: { readonly tbs: Uint8Array }): RevocationPointers {
  const reader = new DerReader(readDer(tbs, tag.sequence));
  while (!reader.finished) {
    const element = reader.next();
    if (element.tag === contextConstructed(3)) return readRevocationInfo(new DerReader(element).next());
  }
  return { crlUrls: [], ocspUrls: [], issuerUrls: [] };
}

/** URLs of a DistributionPointName, as it stands in a certificate and in a CRL. */
export function readDistributionPointUrls(name: DerElement): string[] {
  const choice = new DerReader(name).next();
  return choice.tag === contextConstructed(0) ? urlsOf(choice) : [];
}

function readCrlUrls(value: Uint8Array): string[] {
  const urls: string[] = [];
  const points = new DerReader(readDer(value, tag.sequence));
  while (!points.finished) {
    const name = new DerReader(points.next(tag.sequence)).optional(contextConstructed(0));
    if (name !== undefined) urls.push(...readDistributionPointUrls(name));
  }
  return urls;
}

function readAccesses(value: Uint8Array): { readonly method: string; readonly url: string }[] {
  const accesses: { readonly method: string; readonly url: string }[] = [];
  const reader = new DerReader(readDer(value, tag.sequence));
  while (!reader.finished) {
    const access = new DerReader(reader.next(tag.sequence));
    const method = readOid(access.next());
    const location = access.next();
    if (location.tag === uriTag) accesses.push({ method, url: asciiOf(contentOf(location)) });
  }
  return accesses;
}

function urlsOf(names: DerElement): string[] {
  const urls: string[] = [];
  const reader = new DerReader(names);
  while (!reader.finished) {
    const name = reader.next();
    if (name.tag === uriTag) urls.push(asciiOf(contentOf(name)));
  }
  return urls;
}

/** GeneralName, RFC 5280 section 4.2.1.6. */
const uriTag = context(6);
