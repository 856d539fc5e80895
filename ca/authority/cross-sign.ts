import { authorityRevocationInfo } from "../issuance/revocation-info.ts";
import { signCertificate } from "../issuance/sign.ts";
import { lintCertificate } from "../lint/certificate.ts";
import type { Linted } from "../lint/rule.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { signatureAlgorithmFor } from "../pki/key.ts";
import { validatePath } from "../pki/path.ts";
import { encodeTbs } from "../pki/tbs.ts";
import type { Signer } from "../signer/signer.ts";
import { authorityIdOf } from "./active-issuer.ts";
import { serialOfAuthority, type AuthorityRequest } from "./create.ts";

/**
 * Signs a new root's name and key with the root before it, so that software which has only the old anchor accepts what the new one
 * signs. It ends with the first of the two.
 * @returns undefined where the old root's path length leaves no room for root and issuer below it
 * @throws  {LintRefusal} lint_failed
 * @throws  {SignerError}
 * @throws  {PkiError} path_* when the old root does not vouch for what it signed
 */
export async function crossSign(
  root: Certificate, by: { readonly certificate: Certificate; readonly signer: Signer }, request: CrossRequest,
): Promise<Certificate | undefined> {
  const tbs = crossTbs(root, by.certificate, request);
  if (tbs === undefined) return undefined;
  const cross = parseCertificate(await signCertificate(by.signer, tbs, signatureAlgorithmFor(by.signer.keyAlgorithm)));
  validatePath({ leaf: cross, intermediates: [], anchors: [by.certificate], nowMs: request.nowMs });
  return cross;
}

export type CrossRequest = Pick<AuthorityRequest, "trustDomain" | "nowMs" | "clockSkewMs" | "statusUrl">;

/**
 * What the old root signs of the new one, for a key that is elsewhere.
 * @returns undefined where the old root's path length leaves no room for root and issuer below it
 * @throws  {LintRefusal} lint_failed
 */
export function crossTbs(
  root: Certificate, old: Certificate, { trustDomain, nowMs, clockSkewMs, statusUrl }: CrossRequest,
): Linted<"certificate"> | undefined {
  const { subjectKeyIdentifier, basicConstraints, subjectAltName } = root;
  const room = old.basicConstraints?.pathLength ?? Infinity;
  if (room < minPathLength || subjectKeyIdentifier === undefined || old.subjectKeyIdentifier === undefined) return undefined;
  const signatureAlgorithm = signatureAlgorithmFor(old.keyAlgorithm);
  const notBeforeMs = Math.max(Math.floor(nowMs / 1000) * 1000 - clockSkewMs, old.notBeforeMs, root.notBeforeMs);
  const notAfterMs = Math.min(old.notAfterMs, root.notAfterMs);
  const tbs = encodeTbs({
    serialNumber: serialOfAuthority(), signatureAlgorithm, notBeforeMs, notAfterMs,
    issuer: old.subject,
    subject: root.subject,
    spki: root.spki,
    extensions: {
      basicConstraints: { certificateAuthority: true, ...(basicConstraints?.pathLength !== undefined && { pathLength: basicConstraints.pathLength }) },
      keyUsage: ["keyCertSign", "crlSign"],
      authorityKeyIdentifier: old.subjectKeyIdentifier,
      subjectKeyIdentifier,
      ...(statusUrl !== undefined && { revocationInfo: authorityRevocationInfo(authorityIdOf(old), statusUrl) }),
      ...(subjectAltName !== undefined && { subjectAltName: { uris: subjectAltName.uris } }),
    },
  });
  const limits = { lifetimeMaxMs: notAfterMs + 1000 - notBeforeMs, clockSkewMs, keyAlgorithms: [root.keyAlgorithm], names: { dnsNames: undefined, ipRanges: undefined } };
  return lintCertificate(tbs, { kind: "cross", signatureAlgorithm, issuer: old, trustDomain, limits });
}

/** The new root and an issuer below it. */
const minPathLength = 2;
