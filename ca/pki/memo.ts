import { hash } from "node:crypto";
import type { Certificate } from "./certificate.ts";

/**
 * Remembers what cannot change about certificates that were once part of a valid path: how their bytes read, and whose key
 * signed them. Dates, constraints, bundles and purposes are asked anew each time, so a result is the same with it or without
 * it; only quicker, as a peer's intermediates and mostly the peer itself come back with every handshake.
 */
export interface VerificationMemo {
  /** The certificate these bytes were read as. */
  recall(der: Uint8Array): Certificate | undefined;
  /** True if the signature of `issuer` on `subject` is known to be good. */
  knowsSignature(issuer: Certificate, subject: Certificate): boolean;
  /** Takes in a path, end entity first, all signatures of which were checked. */
  remember(certificates: readonly Certificate[]): void;
}

/**
 * Makes an empty memo; when it is full, what was taken in first goes first.
 * @param maxCertificates  default 1024, about 4 MiB
 */
export function verificationMemo(maxCertificates: number = defaultMaxCertificates): VerificationMemo {
  const known = new Map<string, { readonly certificate: Certificate; readonly issuers: Set<string> }>();
  return {
    recall: (der) => known.get(hash("sha256", der, "hex"))?.certificate,
    knowsSignature: (issuer, subject) => known.get(subject.fingerprint)?.issuers.has(issuer.fingerprint) ?? false,
    remember(certificates) {
      for (const [index, certificate] of certificates.entries()) {
        const entry = known.get(certificate.fingerprint) ?? { certificate, issuers: new Set() };
        const issuer = certificates[index + 1];
        if (issuer !== undefined && entry.issuers.size < maxIssuers) entry.issuers.add(issuer.fingerprint);
        known.set(certificate.fingerprint, entry);
        if (known.size > maxCertificates) known.delete(known.keys().next().value!);
      }
    },
  };
}

const defaultMaxCertificates = 1024;
/** Cross-certification gives a certificate more than one issuer, but not many. */
const maxIssuers = 8;
