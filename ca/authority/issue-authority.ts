import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { encodeEntry, type AuditEvent } from "../audit/event.ts";
import type { AuthorityType } from "../contract.ts";
import { signCertificate } from "../issuance/sign.ts";
import type { Profile } from "../issuance/profile.ts";
import { serialNumbers } from "../issuance/serial.ts";
import type { Certificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { subjectKeyIdentifier } from "../pki/key.ts";
import { validatePath } from "../pki/path.ts";
import { verifySvid } from "../pki/svid.ts";
import type { Signer } from "../signer/signer.ts";
import { activateIssuer, authorityIdOf, type ActiveIssuer } from "./active-issuer.ts";
import { publishBundle } from "./bundle.ts";
import { createIssuer, type AuthorityRequest } from "./create.ts";
import { AuthorityError } from "./errors.ts";

export interface IssuerRequest extends AuthorityRequest {
  readonly profile: Profile;
}

/**
 * Makes an issuer below the root and tries it out before anybody relies on it: its path is validated, and a certificate it
 * signs for a key that is thrown away must verify as a workload of this trust domain.
 * @throws {AuthorityError} root_expired | root_expires_too_soon | root_names_refused (the root does not allow our names)
 */
export async function issueIssuer(
  request: IssuerRequest, root: { readonly certificate: Certificate; readonly signer: Signer },
): Promise<{ readonly issuer: ActiveIssuer; readonly privateKey: KeyObject }> {
  const { certificate, privateKey } = await createIssuer(request, root);
  const issuer = activateIssuer(certificate, privateKey, request.profile, request.trustDomain);
  await tryIssuer(issuer, root.certificate, request);
  return { issuer, privateKey };
}

/** Audit entry of a new root or issuer. */
export function authorityCreated(type: AuthorityType, certificate: Certificate, signedBy: string | undefined, nowMs: number): string {
  const event: AuditEvent = {
    type: "authority.created",
    authorityId: authorityIdOf(certificate),
    authorityType: type,
    fingerprint: certificate.fingerprint,
    serialNumber: certificate.serialNumber,
    notBefore: new Date(certificate.notBeforeMs).toISOString(),
    notAfter: new Date(certificate.notAfterMs).toISOString(),
    ...(signedBy === undefined ? {} : { signedBy }),
  };
  return encodeEntry(event, "system", nowMs);
}

async function tryIssuer(issuer: ActiveIssuer, root: Certificate, { trustDomain, nowMs, profile }: IssuerRequest): Promise<void> {
  const spki = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ format: "der", type: "spki" });
  const secondMs = Math.floor(nowMs / 1000) * 1000;
  const tbs = issuer.encodeAndLint({
    serialNumber: serialNumbers()(),
    notBeforeMs: Math.max(secondMs - profile.clockSkewMs, issuer.certificate.notBeforeMs),
    notAfterMs: secondMs,
    spki,
    subjectKeyIdentifier: subjectKeyIdentifier(spki),
    uri: `spiffe://${trustDomain}/countersign/trial`,
    dnsNames: [],
  });
  const trial = await signCertificate(issuer.signer, tbs, issuer.signatureAlgorithm);
  try {
    validatePath({ leaf: issuer.certificate, intermediates: [], anchors: [root], nowMs });
    const { bundle } = publishBundle(trustDomain, [root], 0);
    for (const purpose of ["client", "server"] as const) {
      verifySvid({ chain: [trial, issuer.certificate.der], bundles: new Map([[trustDomain, bundle]]), nowMs, purpose });
    }
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw new AuthorityError(
      "root_names_refused",
      `certificates of spiffe://${trustDomain} below this root would not verify (${cause.code}): ${cause.message}; use ` +
        "a root without name constraints, extended key usages or an ID that exclude this trust domain",
      { cause },
    );
  }
}
