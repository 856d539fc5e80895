import { createPrivateKey, type KeyObject } from "node:crypto";
import type { AuthorityType } from "../contract/authorities.ts";
import { templateLint, type EncodeAndLint } from "../issuance/lint.ts";
import type { Profile } from "../issuance/profile.ts";
import { compileCertificateTemplate, type CertificateFields } from "../issuance/template.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { signatureAlgorithmFor, type SignatureAlgorithm } from "../pki/key.ts";
import type { Sealing } from "../signer/sealing.ts";
import type { Signer } from "../signer/signer.ts";
import { softwareSigner } from "../signer/software.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";

/** The issuer that signs now: key at hand, everything about it encoded. */
export interface ActiveIssuer {
  readonly id: string;
  readonly certificate: Certificate;
  readonly signer: Signer;
  readonly signatureAlgorithm: SignatureAlgorithm;
  /** @param under  the certificate's profile; default: that of everybody else */
  readonly encodeAndLint: (fields: CertificateFields, under?: Profile) => ReturnType<EncodeAndLint>;
}

/** Makes an issuer ready to sign certificates of the profile. */
export function activateIssuer(certificate: Certificate, privateKey: KeyObject, profile: Profile, trustDomain: string): ActiveIssuer {
  const signer = softwareSigner(privateKey);
  // Each template is compiled once, when its profile is first needed.
  const lints = new Map<Profile, EncodeAndLint>();
  const lintOf = (under: Profile): EncodeAndLint => {
    const known = lints.get(under) ?? templateLint(compileCertificateTemplate(certificate, signer, under), trustDomain);
    lints.set(under, known);
    return known;
  };
  return {
    id: authorityIdOf(certificate),
    certificate,
    signer,
    signatureAlgorithm: signatureAlgorithmFor(signer.keyAlgorithm),
    encodeAndLint: (fields, under = profile) => lintOf(under)(fields),
  };
}

/** The row of a new authority, its key sealed. */
export function authorityRow(
  type: AuthorityType, certificate: Certificate, privateKey: KeyObject, sealing: Sealing, nowMs: number, parentId?: string,
): AuthorityRow {
  const id = authorityIdOf(certificate);
  return {
    id, type,
    state: "active",
    certificate: certificate.der,
    key: { kind: "sealed", sealed: sealAuthorityKey(id, privateKey, sealing) },
    ...(parentId !== undefined && { parentId }),
    lastNotAfterMs: 0,
    stateSinceMs: nowMs,
    notBeforeMs: certificate.notBeforeMs,
    notAfterMs: certificate.notAfterMs,
    createdAtMs: nowMs,
  };
}

/** The row of an authority whose key is not in the store. */
export function outsideRow(type: AuthorityRow["type"], certificate: Certificate, key: AuthorityRow["key"], nowMs: number): AuthorityRow {
  return {
    id: authorityIdOf(certificate), type, state: "active", certificate: certificate.der, key,
    lastNotAfterMs: 0, stateSinceMs: nowMs, notBeforeMs: certificate.notBeforeMs, notAfterMs: certificate.notAfterMs, createdAtMs: nowMs,
  };
}

/**
 * Opens a stored authority.
 * @throws {SignerError} sealing_key_wrong | sealed_data_altered | sealed_format_unknown
 */
export function unsealAuthority(row: Pick<AuthorityRow, "id" | "key" | "certificate">, sealing: Sealing): { readonly certificate: Certificate; readonly privateKey: KeyObject } {
  if (row.key.kind !== "sealed") throw new TypeError(`the key of authority ${row.id} is not in the store`);
  const pkcs8 = sealing.unseal(sealedName(row.id), row.key.sealed);
  return { certificate: parseCertificate(row.certificate), privateKey: createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" }) };
}

/** Lower-case hex of the subject key identifier. */
export function authorityIdOf({ subjectKeyIdentifier }: Certificate): string {
  return Buffer.from(subjectKeyIdentifier ?? []).toString("hex");
}

/** A private key as it is kept: it opens as the key of this authority only. */
export function sealAuthorityKey(authorityId: string, privateKey: KeyObject, sealing: Sealing): Uint8Array {
  return sealing.seal(sealedName(authorityId), privateKey.export({ format: "der", type: "pkcs8" }));
}

/** The same key, sealed under another sealing key. @throws {SignerError} as unsealAuthority */
export function resealAuthorityKey(authorityId: string, sealed: Uint8Array, from: Sealing, to: Sealing): Uint8Array {
  return to.seal(sealedName(authorityId), from.unseal(sealedName(authorityId), sealed));
}

/** Binds a sealed key to its authority: it does not open as the key of another row. */
function sealedName(authorityId: string): string {
  return `private key of authority ${authorityId}`;
}
