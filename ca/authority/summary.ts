import type { AuthoritySummary } from "../contract.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { relativeNamesOf } from "../pki/name.ts";
import { nameOid } from "../pki/oid.ts";
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

/** A name for people, in the order it is written in; not RFC 4514, since nothing may parse it. */
function describeName(name: Uint8Array): string {
  return relativeNamesOf(name)
    .map((attributes) => attributes.map(({ type, text }) => `${attributeNames[type] ?? type}=${text ?? "?"}`).join("+"))
    .join(", ");
}

const attributeNames: Readonly<Record<string, string>> = {
  [nameOid.commonName]: "CN",
  [nameOid.serialNumber]: "serialNumber",
  [nameOid.country]: "C",
  [nameOid.locality]: "L",
  [nameOid.stateOrProvince]: "ST",
  [nameOid.organization]: "O",
  [nameOid.organizationalUnit]: "OU",
  [nameOid.domainComponent]: "DC",
  [nameOid.emailAddress]: "emailAddress",
};
