import type { PkiErrorCode } from "../pki/errors.ts";

const newKey = "make a key that is accepted: P-256, P-384, Ed25519, or RSA of 2048, 3072 or 4096 bits";
const reissue = "have it issued anew by its CA; what was changed on the way does not verify either";
const whole = "send the issuers along, leaf first and without the root, and compare the root with: countersign bundle show";

/** What to do about a refusal, where the refusal itself does not say it. */
export const advice: Readonly<Partial<Record<PkiErrorCode, string>>> = {
  pem_malformed: "copy it anew: 64 columns, no spaces, nothing missing; openssl x509 -in FILE rewrites a certificate",
  der_malformed: reissue,
  certificate_malformed: reissue,
  certificate_extension_invalid: reissue,
  certificate_extension_critical_unknown: "have it issued without that extension, or with the extension not critical",
  certificate_version_unsupported: "it is of the old form without extensions, as openssl req -x509 once made it; issue it anew as version 3",
  algorithm_unsupported: "have it signed anew, with SHA-256 or better and a key that is accepted",
  public_key_unsupported: newKey,
  public_key_weak: newKey,
  public_key_invalid: newKey,
  csr_signature_invalid: "make the request anew with the key that it is for",
  path_not_found: whole,
  path_key_identifier_mismatch: "its issuer has the right name and another key: take the chain that came with the certificate",
  path_signature_invalid: "its issuer did not sign it, whatever it says: treat it as forged, or as damaged on the way",
  path_not_yet_valid: "compare the clocks of both machines; countersign check does",
  path_expired: "proxies renew by themselves, so look at their logs and whether they reach the CA; others: countersign certificate issue",
  path_issuer_not_ca: "it was signed by what is no CA: it cannot be mended, only issued by one",
  path_length_exceeded: "the CA above may not have CAs below it: have it issued by the CA itself",
  path_name_constraint_violated: "the CA above may not vouch for this name: have it issued by the CA of its trust domain",
  path_name_constraint_unsupported: "have the CA's certificate issued with constraints on URIs, DNS names or IP ranges only",
  path_extended_key_usage: "have it issued for both TLS servers and clients",
  svid_uri_san_count: "have it issued with one SPIFFE ID: countersign certificate issue --id spiffe://TRUST-DOMAIN/...",
  svid_id_without_path: "an ID such as spiffe://TRUST-DOMAIN/ns/shop/sa/cart names a workload",
  spiffe_id_malformed: "an ID is spiffe://TRUST-DOMAIN/PATH, the domain in lower case, without port, query or trailing slash",
  svid_key_usage: "have it issued with keyUsage digitalSignature, critical",
  svid_extended_key_usage: "have it issued for both TLS servers and clients",
  svid_trust_domain_unknown: "name the bundle of its own trust domain; a proxy needs a federation with that domain",
  svid_issuer_trust_domain: "its issuer was made for another trust domain and vouches for nobody of this one",
  crl_expired: "fetch it anew; if it is still stale, the CA's log says why it was not signed",
  crl_signature_invalid: "treat it as forged, or as damaged on the way",
};
