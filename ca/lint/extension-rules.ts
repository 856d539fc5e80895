import { tag } from "../pki/der-tag.ts";
import { readDer, readOid } from "../pki/der.ts";
import { keyUsageBits } from "../pki/extension-encoding.ts";
import { describeSpki, subjectKeyIdentifier } from "../pki/key.ts";
import { accessMethodOid, extensionOid, extKeyUsageOid } from "../pki/oid.ts";
import { revocationInfoOf } from "../pki/revocation-info.ts";
import { allBut, authorityKinds, leafKinds, selfSignedKinds, type CertificateRule } from "./certificate-context.ts";
import {
  authorityKeyIdentifierOf, basicConstraintsOf, childrenOf, itemsOf, keyUsageOf, purposesOf, subjectKeyIdentifierOf,
} from "./extension-values.ts";
import { distributionPointFault } from "./distribution-point.ts";
import { same } from "./rule.ts";
import { extensionOf } from "./tbs-view.ts";

/** Rules about what a certificate may be used for, and about its place in a chain. */
export const extensionRules: readonly CertificateRule[] = [
  {
    id: "CERT-09", citation: "RFC 5280 4.2.1.1", appliesTo: "all",
    check: (tbs, { kind }) => {
      const extension = extensionOf(tbs, extensionOid.authorityKeyIdentifier);
      if (extension?.critical === true) return "the authority key identifier is critical";
      if (extension === undefined && kind === "root") return undefined;
      return authorityKeyIdentifierOf(tbs) === undefined ? "there is no authority key identifier" : undefined;
    },
  },

  {
    id: "CERT-10", citation: "RFC 5280 4.2.1.2, RFC 7093 2", appliesTo: "all",
    check: (tbs, { kind, issuer }) => {
      const extension = extensionOf(tbs, extensionOid.subjectKeyIdentifier);
      if (extension === undefined) return "there is no subject key identifier";
      if (extension.critical) return "the subject key identifier is critical";
      // A cross certificate repeats the identifier its root has, however that was made.
      if (kind !== "cross" && !same(subjectKeyIdentifierOf(tbs), subjectKeyIdentifier(tbs.spki))) return "the subject key identifier is not that of the key";
      const pointer = authorityKeyIdentifierOf(tbs);
      if (pointer === undefined) return undefined;
      return same(pointer, issuer === undefined ? subjectKeyIdentifierOf(tbs) : issuer.subjectKeyIdentifier) ? undefined : "the authority key identifier is not the issuer's";
    },
  },

  {
    id: "CERT-11", citation: "RFC 5280 4.2.1.3, X.690 11.2.2, X509-SVID 4.3", appliesTo: "all",
    check: (tbs) => {
      const usage = keyUsageOf(tbs);
      if (usage === undefined) return "there is no key usage";
      if (!usage.critical) return "the key usage is not critical";
      if (usage.bits.every((octet) => octet === 0)) return "the key usage has no bit";
      return (((usage.bits.at(-1) ?? 0) >> usage.unusedBits) & 1) === 1 ? undefined : "the key usage ends in zero bits";
    },
  },

  {
    id: "CERT-12", citation: "RFC 5280 4.2.1.3, 4.2.1.9, X509-SVID 4.3", appliesTo: "all",
    check: (tbs, { kind }) => {
      const usage = keyUsageOf(tbs);
      if (usage === undefined) return undefined;
      const [signsCertificates, signsCrls] = [usage.has(keyUsageBits.keyCertSign), usage.has(keyUsageBits.crlSign)];
      if (signsCertificates && basicConstraintsOf(tbs)?.certificateAuthority !== true) return "keyCertSign in a certificate that is no CA";
      if (leafKinds.includes(kind)) return signsCrls ? "cRLSign in an end entity" : undefined;
      return signsCertificates && signsCrls ? undefined : "a CA without keyCertSign and cRLSign";
    },
  },

  {
    id: "CERT-13", citation: "RFC 8813 3, RFC 8410 5", appliesTo: "all",
    check: (tbs) => {
      const usage = keyUsageOf(tbs);
      const { keyAlgorithm } = describeSpki(tbs.spki);
      if (usage === undefined || keyAlgorithm.startsWith("rsa")) return undefined;
      const enciphers = usage.has(keyUsageBits.keyEncipherment) || usage.has(keyUsageBits.dataEncipherment);
      if (enciphers) return `encipherment with a key of ${keyAlgorithm}`;
      return keyAlgorithm === "ed25519" && usage.has(keyUsageBits.keyAgreement) ? "key agreement with an Ed25519 key" : undefined;
    },
  },

  {
    id: "CERT-14", citation: "RFC 5280 4.2.1.9, X509-SVID 4.1", appliesTo: "all",
    check: (tbs, { kind }) => {
      const constraints = basicConstraintsOf(tbs);
      const isAuthority = constraints?.certificateAuthority === true;
      if (leafKinds.includes(kind) && isAuthority) return "an end entity that is a CA";
      if (constraints?.pathLength !== undefined && !isAuthority) return "a path length without cA";
      if (leafKinds.includes(kind)) return undefined;
      if (!isAuthority) return "a CA without cA TRUE";
      if (!constraints.critical) return "the basic constraints of a CA are not critical";
      if ((kind === "issuer" || kind === "foreign-issuer") && constraints.pathLength !== 0) return "an issuer without the path length 0";
      return kind === "intermediate" && constraints.pathLength === undefined ? "an intermediate without a path length" : undefined;
    },
  },

  {
    id: "CERT-15", citation: "RFC 5280 4.2.1.12", appliesTo: "all",
    check: (tbs, { kind }) => {
      const purposes = purposesOf(tbs);
      if (purposes === undefined) return leafKinds.includes(kind) && kind !== "jwt-key" ? "an end entity without an extended key usage" : undefined;
      if (purposes.length === 0 || new Set(purposes).size !== purposes.length) return "the extended key usage is empty or repeats itself";
      if (purposes.includes(extKeyUsageOid.any)) return "the extended key usage is any";
      const usage = keyUsageOf(tbs);
      if (usage === undefined || authorityKinds.includes(kind)) return undefined;
      return usage.has(keyUsageBits.digitalSignature) ? undefined : "the extended key usage needs digitalSignature";
    },
  },

  {
    id: "CERT-18", citation: "RFC 5280 4.2.1.13", appliesTo: "all",
    check: (tbs) => {
      const extension = extensionOf(tbs, extensionOid.crlDistributionPoints);
      if (extension === undefined) return undefined;
      if (extension.critical) return "the CRL distribution points are critical";
      const points = itemsOf(extension);
      if (points.length === 0) return "there is no CRL distribution point";
      return points.map(distributionPointFault).find((fault) => fault !== undefined);
    },
  },

  {
    id: "CERT-19", citation: "RFC 5280 4.2.2.1, 4.2.1.15", appliesTo: "all",
    check: (tbs) => {
      if (extensionOf(tbs, extensionOid.authorityInfoAccess)?.critical === true) return "the authority information access is critical";
      return extensionOf(tbs, extensionOid.freshestCrl)?.critical === true ? "the freshest CRL is critical" : undefined;
    },
  },

  {
    id: "CERT-20", citation: "RFC 5280 4.2.1.4, 4.2.1.11, 4.2.1.14", appliesTo: "all",
    check: (tbs) => {
      const policies = extensionOf(tbs, extensionOid.certificatePolicies);
      const encoded = policies === undefined ? [] : itemsOf(policies).map((policy) => Buffer.from(policy.bytes.subarray(policy.start, policy.end)).toString("hex"));
      if (new Set(encoded).size !== encoded.length) return "a policy is named twice";
      const lax = [extensionOid.policyConstraints, extensionOid.inhibitAnyPolicy].find((oid) => extensionOf(tbs, oid)?.critical === false);
      return lax === undefined ? undefined : `extension ${lax} is not critical`;
    },
  },

  {
    id: "CERT-25", citation: "RFC 5280 4.2", appliesTo: "all",
    check: ({ extensions }) => {
      const unknown = extensions.find(({ oid, critical }) => critical && !knownCritical.has(oid));
      return unknown === undefined ? undefined : `extension ${unknown.oid} is critical, and verifiers need not know it`;
    },
  },

  {
    id: "CERT-26", citation: "RFC 5280 6.1.4", appliesTo: allBut(...selfSignedKinds),
    check: (tbs, { kind, issuer }) => {
      if (issuer?.basicConstraints?.certificateAuthority !== true) return "its issuer is no CA";
      if (issuer.keyUsage !== undefined && !issuer.keyUsage.keyCertSign) return "its issuer may not sign certificates";
      const { pathLength: budget } = issuer.basicConstraints;
      if (budget === undefined || leafKinds.includes(kind)) return undefined;
      const own = basicConstraintsOf(tbs)?.pathLength;
      return own !== undefined && own < budget ? undefined : `its issuer has a path length of ${budget}, which leaves no room for it`;
    },
  },

  {
    id: "NREV-01", citation: "RFC 9608 2", appliesTo: "all",
    check: (tbs) => {
      const extension = extensionOf(tbs, extensionOid.noRevocationAvailable);
      if (extension === undefined) return undefined;
      return !extension.critical && isNull(extension.value) ? undefined : "noRevAvail is critical, or not NULL";
    },
  },

  {
    id: "NREV-02", citation: "RFC 9608 2", appliesTo: "all",
    check: (tbs, { kind }) => {
      if (extensionOf(tbs, extensionOid.noRevocationAvailable) === undefined) return undefined;
      if (authorityKinds.includes(kind)) return "noRevAvail in a CA certificate";
      const contradiction = [extensionOid.crlDistributionPoints, extensionOid.freshestCrl].find((oid) => extensionOf(tbs, oid) !== undefined);
      if (contradiction !== undefined) return `noRevAvail beside extension ${contradiction}`;
      const access = extensionOf(tbs, extensionOid.authorityInfoAccess);
      const methods = access === undefined ? [] : itemsOf(access).flatMap((description) => childrenOf(description).slice(0, 1)).map(readOid);
      return methods.includes(accessMethodOid.ocsp) ? "noRevAvail beside an OCSP responder" : undefined;
    },
  },

  {
    id: "OCSP-04", citation: "RFC 6960 4.2.2.2.1", appliesTo: ["ocsp-signer"],
    check: (tbs) => {
      const purposes = purposesOf(tbs) ?? [];
      if (purposes.length !== 1 || purposes[0] !== extKeyUsageOid.ocspSigning) return "an OCSP signer has another purpose than OCSPSigning";
      const extension = extensionOf(tbs, extensionOid.ocspNoCheck);
      return extension !== undefined && !extension.critical && isNull(extension.value) ? undefined : "an OCSP signer without id-pkix-ocsp-nocheck";
    },
  },

  {
    id: "TLSF-01", citation: "RFC 7633 4", appliesTo: "all",
    check: (tbs) => (extensionOf(tbs, extensionOid.tlsFeature) === undefined ? undefined : "it has a TLS feature, which mutual TLS cannot keep"),
  },

  {
    id: "PROFILE-05", citation: "the profile", appliesTo: "all",
    check: (tbs, { meant }) => {
      if (meant === undefined) return undefined;
      const usage = keyUsageOf(tbs);
      const wanted = meant.keyUsage.map((name) => keyUsageBits[name]);
      if (Object.values(keyUsageBits).some((bit) => (usage?.has(bit) === true) !== wanted.some((each) => each === bit))) return "the key usage is another one than meant";
      const purposes = meant.extKeyUsage.map((name) => extKeyUsageOid[name]);
      return (purposesOf(tbs) ?? []).join() === purposes.join() ? undefined : "the extended key usage is another one than meant";
    },
  },

  {
    id: "PROFILE-08", citation: "the profile's revocation", appliesTo: "all",
    check: (tbs, { meant }) => {
      if (meant === undefined) return undefined;
      const { crlUrl, ocspUrl, issuerUrl, noRevocationAvailable = false } = meant.revocationInfo;
      const { crlUrls, ocspUrls, issuerUrls } = revocationInfoOf({ tbs: tbs.bytes });
      const asMeant = is(crlUrls, crlUrl) && is(ocspUrls, ocspUrl) && is(issuerUrls, issuerUrl);
      const available = extensionOf(tbs, extensionOid.noRevocationAvailable) === undefined;
      return asMeant && available !== noRevocationAvailable ? undefined : "what it says of its revocation is not what was meant";
    },
  },
];

/** Whether a list is this one item, or empty where there is to be none. */
function is(list: readonly string[], item: string | undefined): boolean {
  return item === undefined ? list.length === 0 : list.length === 1 && list[0] === item;
}

function isNull(value: Uint8Array): boolean {
  return value.length === 2 && readDer(value).tag === tag.null;
}

/** Those that have rules of their own here. */
const knownCritical: ReadonlySet<string> = new Set(Object.values(extensionOid));
