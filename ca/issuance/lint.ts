import { lintCertificate } from "../lint/certificate.ts";
import type { CertificateContext, MeantContent } from "../lint/certificate-context.ts";
import { quickVerdict, type QuickVerdict } from "../lint/quick.ts";
import { LintRefusal, type Linted } from "../lint/rule.ts";
import type { RevocationInfo } from "../pki/extension-encoding.ts";
import { describeSpki, type KeyAlgorithm } from "../pki/key.ts";
import type { CertificateFields, CertificateTemplate } from "./template.ts";

/** Encodes the fields and lints them: the bytes that come back are the bytes that were judged. */
export type EncodeAndLint = (fields: CertificateFields) => Linted<"certificate">;

/**
 * Binds the lint to a template. The first certificate of each kind of key and shard of the CRL is judged by every rule; from then on what the template
 * fixed is compared with what was judged then, and only what varies is judged again (`quickVerdict`). A certificate that does
 * not pass that way is judged by every rule, so the quick way decides how long it takes and never what is refused.
 * @throws {LintRefusal} lint_failed, with the rules: nothing was signed
 */
export function templateLint(template: CertificateTemplate, trustDomain: string): EncodeAndLint {
  const { profile, issuer, signatureAlgorithm } = template;
  const context = {
    kind: profile.kind, signatureAlgorithm, issuer, trustDomain,
    limits: { lifetimeMaxMs: profile.lifetimeMaxMs, clockSkewMs: profile.clockSkewMs, keyAlgorithms: profile.keyAlgorithms, names: profile.names },
  } satisfies CertificateContext;
  const quick = new Map<KeyAlgorithm, Map<RevocationInfo, QuickVerdict>>();

  return (fields) => {
    const tbs = encode(template, fields);
    const { keyAlgorithm } = describeSpki(fields.spki);
    // There are as many as shards of the CRL, each the same object for all certificates of its shard.
    const revocationInfo = template.revocationInfo(fields.serialNumber);
    const known = quick.get(keyAlgorithm);
    if (known?.get(revocationInfo)?.(tbs, fields) === true) return tbs as Linted<"certificate">;
    const judged = lintCertificate(tbs, { ...context, meant: { ...meantOf(template, fields), revocationInfo } });
    if (known === undefined) quick.set(keyAlgorithm, new Map([[revocationInfo, quickVerdict(judged, context)]]));
    else if (!known.has(revocationInfo)) known.set(revocationInfo, quickVerdict(judged, context));
    return judged;
  };
}

/** What the encoder refuses to write is a rule broken, too. */
function encode(template: CertificateTemplate, fields: CertificateFields): Uint8Array {
  try {
    return template.encode(fields);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new LintRefusal("certificate", template.profile.kind, [{ id: "ENCODE", citation: "RFC 5280 4", detail: cause.message }], { cause });
  }
}

function meantOf({ profile }: CertificateTemplate, { uri, ipAddresses = [], ...fields }: CertificateFields): Omit<MeantContent, "revocationInfo"> {
  return { ...fields, uris: [uri], ipAddresses, dnsFirst: profile.dnsFirst ?? false, keyUsage: profile.keyUsage, extKeyUsage: profile.extKeyUsage };
}
