import type { AuthoritySummary } from "../contract.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { describeName } from "../pki/name-text.ts";
import { encodePem } from "../pki/pem.ts";
import type { AuthorityRow } from "../store/store.ts";

/** What the API shows of an authority. */
export function summarizeAuthority({ id, type, state, certificate: der, notBeforeMs, notAfterMs }: AuthorityRow): AuthoritySummary {
  const certificate = parseCertificate(der);
  return {
    id, type, state,
    subject: describeName(certificate.subject),
    keyAlgorithm: certificate.keyAlgorithm,
    fingerprint: certificate.fingerprint,
    notBefore: new Date(notBeforeMs).toISOString(),
    notAfter: new Date(notAfterMs).toISOString(),
    certificate: encodePem("CERTIFICATE", der),
  };
}
