import { context, contextConstructed } from "../pki/der-tag.ts";
import type { DerElement } from "../pki/der.ts";
import { childrenOf, latin1Of, nameTag } from "./extension-values.ts";

/**
 * Judges a DistributionPoint: a full name that is one http URI, and nothing else.
 * @source RFC 5280 section 4.2.1.13
 */
export function distributionPointFault(point: DerElement): string | undefined {
  const parts = childrenOf(point);
  if (parts.some(({ tag }) => tag === contextConstructed(crlIssuer))) return "a distribution point names a CRL issuer, though the issuer signs the CRL itself";
  const place = parts.find(({ tag }) => tag === contextConstructed(pointName));
  if (place === undefined) return "a distribution point has no name";
  if (parts.some(({ tag }) => tag === context(reasons))) return "a distribution point is for some reasons only";
  const uris = fullNameUrisOf(place);
  if (uris === undefined || uris.length === 0) return "a distribution point has no URI";
  return uris.every((uri) => /^http:\/\/[^/?#]+(?:[/?#]|$)/.test(uri)) ? undefined : "a distribution point is not an http URI";
}

/** URIs of a DistributionPointName [0] with a fullName; undefined for the relative form or names of other kinds. */
export function fullNameUrisOf(place: DerElement): readonly string[] | undefined {
  const [fullName] = childrenOf(place);
  if (fullName?.tag !== contextConstructed(0)) return undefined;
  const names = childrenOf(fullName);
  return names.every(({ tag }) => tag === nameTag.uri) ? names.map(latin1Of) : undefined;
}

const pointName = 0;
const reasons = 1;
const crlIssuer = 2;
