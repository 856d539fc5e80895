import { parseCertificate } from "../pki/certificate.ts";
import { encodeCertificate } from "../pki/tbs.ts";
import type { CertificateContext, CertificateRule } from "./certificate-context.ts";
import { fieldRules } from "./certificate-rules.ts";
import { extensionRules } from "./extension-rules.ts";
import { nameRules } from "./name-rules.ts";
import { failuresOf, LintRefusal, type Linted, type LintFailure } from "./rule.ts";
import { viewTbs, type TbsView } from "./tbs-view.ts";

/** Every rule a certificate is judged by. */
export const certificateRules: readonly CertificateRule[] = [...fieldRules, ...extensionRules, ...nameRules];

/** Rules of the same table that are not about one certificate's bytes, and what keeps them. */
export const rulesKeptElsewhere: Readonly<Record<string, string>> = {
  "CERT-27": "ca/pki/path.ts bounds depth, candidates and comparisons of path building",
  "CERT-28": "signing takes only the type Linted, which only a lint makes",
};

/**
 * Judges the bytes of a certificate that is about to be signed.
 * @returns the same bytes, fit for signing
 * @throws {LintRefusal} lint_failed, with every rule that is broken
 */
export function lintCertificate(tbs: Uint8Array, context: CertificateContext): Linted<"certificate"> {
  const failures = lintFailures(tbs, context);
  if (failures.length > 0) throw new LintRefusal("certificate", context.kind, failures);
  return tbs as Linted<"certificate">;
}

/** Every rule that the bytes break; empty when they may be signed. */
export function lintFailures(tbs: Uint8Array, context: CertificateContext): readonly LintFailure[] {
  let view: TbsView;
  try {
    view = viewTbs(tbs);
  } catch (error) {
    return [{ id: "CERT-24", citation: "X.690 10 and 11", detail: `it is no TBSCertificate: ${(error as Error).message}` }];
  }
  const failures = failuresOf(certificateRules, view, context);
  return failures.length > 0 ? failures : readBackFailures(tbs, context);
}

/** The last word has the parser that proxies verify with: it reads the certificate with a signature that is none. */
function readBackFailures(tbs: Uint8Array, { signatureAlgorithm }: CertificateContext): readonly LintFailure[] {
  try {
    parseCertificate(encodeCertificate(tbs, signatureAlgorithm, noSignature));
    return [];
  } catch (error) {
    return [{ id: "READ-BACK", citation: "DESIGN 3: one parser for both sides", detail: (error as Error).message }];
  }
}

const noSignature = new Uint8Array(64);
