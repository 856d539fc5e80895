import { context, contextConstructed, tag } from "../pki/der-tag.ts";
import { contentOf, readDer, type DerElement } from "../pki/der.ts";
import { keyUsageBits } from "../pki/extension-encoding.ts";
import { readGeneralNames } from "../pki/general-name.ts";
import { nameConstraintFault } from "../pki/name-constraints.ts";
import { extensionOid, extKeyUsageOid } from "../pki/oid.ts";
import { parseSpiffeId } from "../pki/spiffe-id.ts";
import { allBut, authorityKinds, selfSignedKinds, type CertificateRule } from "./certificate-context.ts";
import { altNamesOf, childrenOf, itemsOf, keyUsageOf, latin1Of, nameTag, purposesOf } from "./extension-values.ts";
import { permitsDnsName, permitsIpAddress } from "./permitted-names.ts";
import { extensionOf, isEmptyName, type TbsView } from "./tbs-view.ts";

/** Rules about whom a certificate names, and whom it may name. */
export const nameRules: readonly CertificateRule[] = [
  {
    id: "CERT-16", citation: "RFC 5280 4.2.1.6, RFC 9525 6.3", appliesTo: "all",
    check: (tbs) => {
      const altNames = altNamesOf(tbs);
      if (altNames === undefined) return undefined;
      if (altNames.names.length === 0) return "the subjectAltName is empty";
      return altNames.names.map(nameFault).find((fault) => fault !== undefined);
    },
  },

  {
    id: "CERT-17", citation: "RFC 5280 4.2.1.10", appliesTo: "all",
    check: (tbs, { kind }) => {
      const extension = extensionOf(tbs, extensionOid.nameConstraints);
      if (extension === undefined) return undefined;
      if (!authorityKinds.includes(kind)) return "name constraints in an end entity";
      if (!extension.critical) return "the name constraints are not critical";
      const sides = itemsOf(extension);
      const known = sides.every((side) => side.tag === contextConstructed(0) || side.tag === contextConstructed(1));
      if (sides.length === 0 || !known) return "the name constraints say nothing";
      return sides.map(subtreesFault).find((fault) => fault !== undefined);
    },
  },

  {
    id: "CERT-26-names", citation: "RFC 5280 6.1.3 (b) and (c)", appliesTo: allBut(...selfSignedKinds),
    check: (tbs, { issuer }) => {
      if (issuer?.nameConstraints === undefined) return undefined;
      const extension = extensionOf(tbs, extensionOid.subjectAltName);
      const subjectAltName = extension && { critical: extension.critical, ...readGeneralNames(readDer(extension.value, tag.sequence)) };
      const named = { subject: tbs.subject, subjectEmpty: isEmptyName(tbs.subject), ...(subjectAltName && { subjectAltName }) };
      const fault = nameConstraintFault(issuer.nameConstraints, named, () => undefined);
      return fault === undefined ? undefined : "its issuer's name constraints do not permit its names";
    },
  },

  {
    id: "XS-01", citation: "X509-SVID 2, 3.1", appliesTo: ["workload", "api"],
    check: (tbs, { trustDomain }) => {
      const uris = urisOf(tbs);
      if (uris.length !== 1) return `it has ${uris.length} URI names, and an SVID has one`;
      const id = parseSpiffeId(uris[0] ?? "");
      if (id.trustDomain !== trustDomain) return "its SPIFFE ID is of another trust domain";
      return id.path === "" ? "its SPIFFE ID has no path" : undefined;
    },
  },

  {
    id: "XS-11", citation: "X509-SVID 3.2", appliesTo: ["issuer", "foreign-issuer", "intermediate", "root", "jwt-key"],
    check: (tbs, { trustDomain }) => {
      for (const uri of urisOf(tbs)) {
        const id = parseSpiffeId(uri);
        if (id.path !== "") return "a signing certificate's SPIFFE ID has a path";
        if (id.trustDomain !== trustDomain) return "a signing certificate's SPIFFE ID is of another trust domain";
      }
      return undefined;
    },
  },

  {
    id: "XS-17", citation: "X509-SVID 4.3, 4.4", appliesTo: ["workload", "api"],
    check: (tbs) => {
      if (keyUsageOf(tbs)?.has(keyUsageBits.digitalSignature) !== true) return "an SVID without digitalSignature";
      const purposes = purposesOf(tbs) ?? [];
      const both = purposes.includes(extKeyUsageOid.serverAuth) && purposes.includes(extKeyUsageOid.clientAuth);
      return both ? undefined : "an SVID that is not for both serverAuth and clientAuth";
    },
  },

  {
    id: "PROFILE-04", citation: "the request, as its attestation and profile permit it", appliesTo: "all",
    check: (tbs, { meant }) => {
      if (meant === undefined) return undefined;
      const names = altNamesOf(tbs)?.names ?? [];
      const written = names.map((name) => `${name.tag} ${latin1Of(name)}`);
      const [uris, dnsNames] = [meant.uris.map((uri) => `${nameTag.uri} ${uri}`), meant.dnsNames.map((name) => `${nameTag.dnsName} ${name}`)];
      const wanted = [
        ...(meant.dnsFirst === true ? [...dnsNames, ...uris] : [...uris, ...dnsNames]),
        ...meant.ipAddresses.map((address) => `${nameTag.ipAddress} ${Buffer.from(address).toString("latin1")}`),
      ];
      return written.length === wanted.length && wanted.every((name, index) => name === written[index]) ? undefined : "the names are others than meant";
    },
  },

  {
    id: "PROFILE-06", citation: "the profile's dnsNames and ipRanges; GHSA-g892-p242-8g86", appliesTo: ["workload"],
    check: (tbs, { limits }) => {
      for (const name of altNamesOf(tbs)?.names ?? []) {
        if (name.tag === nameTag.dnsName && !permitsDnsName(limits.names, latin1Of(name))) return "its profile does not permit its DNS names";
        if (name.tag === nameTag.ipAddress && !permitsIpAddress(limits.names, contentOf(name))) return "its profile does not permit its IP addresses";
      }
      return undefined;
    },
  },
];

function urisOf(tbs: TbsView): readonly string[] {
  return (altNamesOf(tbs)?.names ?? []).filter((name) => name.tag === nameTag.uri).map(latin1Of);
}

function nameFault(name: DerElement): string | undefined {
  switch (name.tag) {
    case nameTag.dnsName: return dnsForm.test(latin1Of(name)) ? undefined : "a DNS name is not letters, digits and dashes between dots";
    case nameTag.uri: return uriForm.test(latin1Of(name)) ? undefined : "a URI is not absolute, or has no host";
    case nameTag.ipAddress: return ipLengths.includes(contentOf(name).length) ? undefined : "an IP address has neither 4 nor 16 octets";
    default: return "there is a name that is neither URI, DNS name nor IP address";
  }
}

/** Judges one side of name constraints. */
function subtreesFault(side: DerElement): string | undefined {
  const subtrees = childrenOf(side);
  if (subtrees.length === 0) return "a side of the name constraints is empty";
  for (const subtree of subtrees) {
    const [base, ...bounds] = childrenOf(subtree);
    if (base === undefined) return "a name constraint has no name";
    if (bounds.some((bound) => bound.tag === context(1))) return "a name constraint has a maximum";
    if (bounds.length > 0) return "a name constraint has a minimum";
    const fault = constraintFault(base);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function constraintFault(base: DerElement): string | undefined {
  switch (base.tag) {
    // HashiCorp Vault issue 31627: one with a path never matches anything.
    case nameTag.uri: return hostForm.test(latin1Of(base)) ? undefined : "a URI constraint is not a host";
    case nameTag.dnsName: return dnsConstraintForm.test(latin1Of(base)) ? undefined : "a DNS constraint is not a domain";
    case nameTag.ipAddress: return [8, 32].includes(contentOf(base).length) ? undefined : "an IP constraint is not address and mask";
    default: return undefined;
  }
}

const label = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?";
// No wildcard: whoever holds one could pass for every name below. No number at the end: that is an IPv4 address in the wrong place.
const dnsForm = new RegExp(`^(?=.{1,253}$)(?!(?:.*\\.)?[0-9]+$)${label}(?:\\.${label})*$`, "i");
const dnsConstraintForm = new RegExp(`^(?:${label}(?:\\.${label})*)?$`, "i");
const hostForm = new RegExp(`^\\.?${label}(?:\\.${label})*$`, "i");
const uriForm = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[A-Za-z0-9._-]+(?:[/?#][\x21-\x7e]*)?$/;
const ipLengths = [4, 16];
