import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { signCertificate } from "../issuance/sign.ts";
import type { Profile } from "../issuance/profile.ts";
import { serialNumbers } from "../issuance/serial.ts";
import type { Certificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { subjectKeyIdentifier } from "../pki/key.ts";
import { validatePath } from "../pki/path.ts";
import { verifySvid } from "../pki/svid.ts";
import type { Signer } from "../signer/signer.ts";
import { activateIssuer, type ActiveIssuer } from "./active-issuer.ts";
import { publishBundle } from "./bundle.ts";
import { createIssuer, type AuthorityRequest } from "./create.ts";
import { AuthorityError } from "./errors.ts";

export interface IssuerRequest extends AuthorityRequest {
  readonly profile: Profile;
}

/** Who signs an issuer. */
export interface IssuerParent {
  readonly certificate: Certificate;
  readonly signer: Signer;
  /** The root above an intermediate; absent where the parent is the root. */
  readonly anchor?: Certificate;
}

/**
 * Makes an issuer below the parent and tries it out before anybody relies on it: its path is validated, and a certificate it
 * signs for a key that is thrown away must verify as a workload of this trust domain.
 * @throws {AuthorityError} root_expired | root_expires_too_soon | root_names_refused (the root does not allow our names)
 */
export async function issueIssuer(request: IssuerRequest, parent: IssuerParent): Promise<{ readonly issuer: ActiveIssuer; readonly privateKey: KeyObject }> {
  const { certificate, privateKey } = await createIssuer(request, parent);
  const issuer = activateIssuer(certificate, privateKey, request.profile, request.trustDomain);
  const { certificate: above, anchor } = parent;
  await tryIssuer(issuer, anchor === undefined ? [] : [above], anchor ?? above, request);
  return { issuer, privateKey };
}

/** What a workload's certificate names beside its ID. */
export interface TrialNames {
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly Uint8Array[];
}

/**
 * Tries an issuer out before anybody relies on it.
 * @param intermediates  between it and the root
 * @throws {AuthorityError} root_names_refused
 */
export async function tryIssuer(
  issuer: ActiveIssuer, intermediates: readonly Certificate[], root: Certificate, { trustDomain, nowMs, profile }: Pick<IssuerRequest, "trustDomain" | "nowMs" | "profile">,
  { dnsNames = [], ipAddresses = [] }: TrialNames = {},
): Promise<void> {
  const spki = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ format: "der", type: "spki" });
  const secondMs = Math.floor(nowMs / 1000) * 1000;
  const tbs = issuer.encodeAndLint({
    serialNumber: serialNumbers()(nowMs),
    notBeforeMs: Math.max(secondMs - profile.clockSkewMs, issuer.certificate.notBeforeMs),
    notAfterMs: secondMs,
    spki,
    subjectKeyIdentifier: subjectKeyIdentifier(spki),
    uri: `spiffe://${trustDomain}/countersign/trial`,
    dnsNames,
    ...(ipAddresses.length > 0 && { ipAddresses }),
  });
  const trial = await signCertificate(issuer.signer, tbs, issuer.signatureAlgorithm);
  try {
    validatePath({ leaf: issuer.certificate, intermediates, anchors: [root], nowMs });
    const { bundle } = publishBundle(trustDomain, [root], 0);
    const chain = [trial, issuer.certificate.der, ...intermediates.map(({ der }) => der)];
    for (const purpose of ["client", "server"] as const) {
      verifySvid({ chain, bundles: new Map([[trustDomain, bundle]]), nowMs, purpose });
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
