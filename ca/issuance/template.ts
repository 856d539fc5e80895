import type { Certificate } from "../pki/certificate.ts";
import type { RevocationInfo } from "../pki/extension-encoding.ts";
import { signatureAlgorithmFor, type SignatureAlgorithm } from "../pki/key.ts";
import { compileTemplate, emptyName, encodeTbs, shardOf, type WorkloadFields } from "../pki/tbs.ts";
import type { Signer } from "../signer/signer.ts";
import type { Profile } from "./profile.ts";
import { revocationInfoBy } from "./revocation-info.ts";

/** The variable part of a workload certificate; IP addresses only in the CA's own. */
export interface CertificateFields extends WorkloadFields {
  readonly ipAddresses?: readonly Uint8Array[];
}

/** One profile under one issuer, everything that does not vary encoded. */
export interface CertificateTemplate {
  readonly profile: Profile;
  readonly issuer: Certificate;
  readonly signatureAlgorithm: SignatureAlgorithm;
  /** What a certificate with this serial number says of its revocation. */
  revocationInfo(serialNumber: Uint8Array): RevocationInfo;
  encode(fields: CertificateFields): Uint8Array;
}

/** Compiles the template; done once when an issuer becomes active. */
export function compileCertificateTemplate(issuer: Certificate, signer: Signer, profile: Profile): CertificateTemplate {
  const { keyUsage, extKeyUsage, revocation, dnsFirst = false } = profile;
  const { subject, subjectKeyIdentifier: authorityKeyIdentifier } = issuer;
  if (authorityKeyIdentifier === undefined) throw new TypeError("an issuer of ours has a subject key identifier");
  const signatureAlgorithm = signatureAlgorithmFor(signer.keyAlgorithm);
  const basicConstraints = { certificateAuthority: false };
  const revocationInfo = revocationInfoBy(Buffer.from(authorityKeyIdentifier).toString("hex"), revocation) ?? [{}];
  const encodeCompiled = compileTemplate({
    signatureAlgorithm, issuer: subject, authorityKeyIdentifier, basicConstraints, keyUsage, extKeyUsage, revocationInfo, dnsFirst,
  });
  const infoOf = (serialNumber: Uint8Array): RevocationInfo => revocationInfo[shardOf(serialNumber, revocationInfo.length)]!;
  return {
    profile, issuer, signatureAlgorithm, revocationInfo: infoOf,
    encode(fields) {
      if (fields.ipAddresses === undefined) return encodeCompiled(fields);
      const { uri, dnsNames, ipAddresses, subjectKeyIdentifier, ...rest } = fields;
      return encodeTbs({
        ...rest, signatureAlgorithm, issuer: subject, subject: emptyName,
        extensions: {
          basicConstraints, keyUsage, extKeyUsage, authorityKeyIdentifier, revocationInfo: infoOf(rest.serialNumber), subjectKeyIdentifier,
          subjectAltName: { uris: [uri], dnsNames, ipAddresses, dnsFirst },
        },
      });
    },
  };
}
