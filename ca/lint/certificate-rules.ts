import { encodeExplicit, encodeSmallInteger } from "../pki/der-encoding.ts";
import { tag } from "../pki/der-tag.ts";
import { contentOf, readDer, readOid, readTime, type DerElement } from "../pki/der.ts";
import { describeSpki, encodeSignatureAlgorithm, importPublicKey } from "../pki/key.ts";
import { nameOid } from "../pki/oid.ts";
import { allBut, authorityKinds, selfSignedKinds, type CertificateRule } from "./certificate-context.ts";
import { altNamesOf, childrenOf, latin1Of } from "./extension-values.ts";
import { strictDerFault } from "./strict-der.ts";
import { same } from "./rule.ts";
import { isEmptyName, repeatedOids } from "./tbs-view.ts";

/** Rules about the fields of a TBSCertificate. Ids are those of `reference/ca.md` 3.1 in the project's design notes. */
export const fieldRules: readonly CertificateRule[] = [
  {
    id: "CERT-01", citation: "RFC 5280 4.1.2.1, 4.2", appliesTo: "all",
    check: ({ version, extensions }) => {
      if (version === undefined || !same(version, version3)) return "it is not of version 3";
      const [repeated] = repeatedOids(extensions);
      return repeated === undefined ? undefined : `extension ${repeated} occurs twice`;
    },
  },

  {
    id: "CERT-02", citation: "RFC 5280 4.1.2.2, CABF BR 7.1", appliesTo: "all",
    check: ({ serialNumber }) => {
      if ((serialNumber[0] ?? 0x80) >= 0x80) return "the serial number is negative";
      if (serialNumber.length > maxSerialOctets) return `the serial number has ${serialNumber.length} octets, more than ${maxSerialOctets}`;
      const magnitude = serialNumber[0] === 0 ? serialNumber.subarray(1) : serialNumber;
      return magnitude.length < minSerialOctets ? `the serial number has less than ${minSerialOctets * 8} random bits` : undefined;
    },
  },

  {
    id: "CERT-03", citation: "RFC 5280 4.1.1.2, RFC 5758, RFC 8410, RFC 4055", appliesTo: "all",
    check: (tbs, { signatureAlgorithm }) =>
      same(tbs.signatureAlgorithm, encodeSignatureAlgorithm(signatureAlgorithm)) ? undefined : `the algorithm is not ${signatureAlgorithm} as the signer will use it`,
  },

  {
    id: "CERT-04", citation: "RFC 5280 4.1.2.4, 4.1.2.6", appliesTo: "all",
    check: ({ issuer, subject }, { kind, issuer: signer }) => {
      if (isEmptyName(issuer)) return "the issuer has no name";
      if (!same(issuer, signer?.subject ?? subject)) return "the issuer's name is not the subject of the certificate that signs";
      return authorityKinds.includes(kind) && isEmptyName(subject) ? "a CA has no subject name" : undefined;
    },
  },

  {
    id: "CERT-05", citation: "RFC 5280 4.1.2.5", appliesTo: "all",
    check: ({ notBefore, notAfter }) => {
      const [beginMs, endMs] = [readTime(notBefore), readTime(notAfter)];
      if (timeTag(beginMs) !== notBefore.tag || timeTag(endMs) !== notAfter.tag) return "a date before 2050 is no UTCTime, or a later one is";
      return beginMs <= endMs ? undefined : "it ends before it begins";
    },
  },

  {
    id: "CERT-06", citation: "RFC 5280 4.2.1.6", appliesTo: "all",
    check: (tbs) => {
      const names = altNamesOf(tbs);
      if (isEmptyName(tbs.subject)) return names?.critical === true ? undefined : "the subject is empty and there is no critical subjectAltName";
      return names?.critical === true ? "the subjectAltName is critical beside a subject" : undefined;
    },
  },

  // A cross certificate has its subject from a root that may have been made elsewhere.
  {
    id: "CERT-07", citation: "RFC 5280 4.1.2.4, appendix A", appliesTo: allBut("cross"),
    check: ({ subject }) => {
      for (const relativeName of childrenOf(readDer(subject, tag.sequence))) {
        for (const attribute of childrenOf(relativeName)) {
          const fault = attributeFault(attribute);
          if (fault !== undefined) return fault;
        }
      }
      return undefined;
    },
  },

  {
    id: "CERT-08", citation: "RFC 5280 4.1.2.8", appliesTo: "all",
    check: ({ hasUniqueIdentifiers }) => (hasUniqueIdentifiers ? "it has a unique identifier" : undefined),
  },

  {
    id: "CERT-21", citation: "RFC 5280 6.1.3, SPIRE issue 1266", appliesTo: allBut(...selfSignedKinds),
    check: ({ notBefore, notAfter }, { issuer }) => {
      const [beginMs, endMs] = [readTime(notBefore), readTime(notAfter)];
      if (issuer === undefined || endMs > issuer.notAfterMs) return "it would outlive its issuer";
      return beginMs < issuer.notBeforeMs ? "it would be valid before its issuer" : undefined;
    },
  },

  {
    id: "CERT-22", citation: "RFC 2986 4, practice of public CAs", appliesTo: allBut(...selfSignedKinds),
    check: ({ spki }, { issuer }) =>
      issuer === undefined || same(spki, issuer.spki) ? "its key is its issuer's key" : undefined,
  },

  {
    id: "CERT-23", citation: "CABF BR 6.1.6, RFC 5480", appliesTo: "all",
    check: ({ spki }) => {
      importPublicKey(spki);
      return undefined;
    },
  },

  {
    id: "CERT-24", citation: "X.690 10 and 11", appliesTo: "all",
    check: ({ bytes }) => strictDerFault(bytes),
  },

  {
    id: "PROFILE-01", citation: "the profile's lifetimeMax", appliesTo: "all",
    check: ({ notBefore, notAfter }, { limits }) =>
      readTime(notAfter) + 1000 - readTime(notBefore) > limits.lifetimeMaxMs + limits.clockSkewMs ? "it is valid for longer than its profile allows" : undefined,
  },

  {
    id: "PROFILE-02", citation: "the profile's keyAlgorithms", appliesTo: "all",
    check: ({ spki }, { limits }) => {
      const { keyAlgorithm } = describeSpki(spki);
      return limits.keyAlgorithms.includes(keyAlgorithm) ? undefined : `its key is ${keyAlgorithm}, which its profile does not allow`;
    },
  },

  {
    id: "PROFILE-03", citation: "the request", appliesTo: "all",
    check: (tbs, { meant }) => {
      if (meant === undefined) return undefined;
      const serialNumber = tbs.serialNumber[0] === 0 ? tbs.serialNumber.subarray(1) : tbs.serialNumber;
      if (!same(serialNumber, meant.serialNumber)) return "the serial number is another one than meant";
      if (readTime(tbs.notBefore) !== meant.notBeforeMs || readTime(tbs.notAfter) !== meant.notAfterMs) return "the dates are others than meant";
      return same(tbs.spki, meant.spki) ? undefined : "the key is another one than meant";
    },
  },

  {
    id: "PROFILE-07", citation: "the size a certificate of ours may have", appliesTo: "all",
    check: ({ bytes }) => (bytes.length > maxTbsBytes ? `${bytes.length} bytes exceed the limit of ${maxTbsBytes}` : undefined),
  },
];

/** Judges one AttributeTypeAndValue. */
function attributeFault(attribute: DerElement): string | undefined {
  const [typeElement, value] = childrenOf(attribute);
  if (typeElement === undefined || value === undefined) return "an attribute of the subject has no value";
  const type = readOid(typeElement);
  if (type === nameOid.domainComponent || type === nameOid.emailAddress) {
    return value.tag === tag.ia5String ? undefined : `attribute ${type} is no IA5String`;
  }
  if (type === nameOid.country) {
    return value.tag === tag.printableString && /^[A-Z]{2}$/i.test(latin1Of(value)) ? undefined : "the country is not two printable letters";
  }
  if (value.tag !== tag.utf8String && value.tag !== tag.printableString) return `attribute ${type} is neither UTF8String nor PrintableString`;
  const length = [...Buffer.from(contentOf(value)).toString("utf8")].length;
  return length >= 1 && length <= maxAttributeChars ? undefined : `attribute ${type} has ${length} characters`;
}

function timeTag(timeMs: number): number {
  return timeMs < year2050Ms ? tag.utcTime : tag.generalizedTime;
}

const version3 = encodeExplicit(0, encodeSmallInteger(2));
const year2050Ms = Date.UTC(2050, 0, 1);
const maxSerialOctets = 20;
/** DESIGN promise 5. */
const minSerialOctets = 16;
/** ub-common-name and its like. */
const maxAttributeChars = 64;
/** Sixteen names of 253 characters, a 2 KiB ID and an RSA-4096 key have 7 KiB. */
const maxTbsBytes = 8 * 1024;
