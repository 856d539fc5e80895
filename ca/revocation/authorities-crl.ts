import { parseCertificate } from "../pki/certificate.ts";
import { encodeRevokedCertificate } from "../pki/crl-encoding.ts";
import { parseCrl } from "../pki/crl.ts";
import type { AuthorityRow } from "../store/store.ts";

/** An authority that another one signed, and that was revoked. */
export interface RevokedAuthority {
  /** Lower-case hex. */
  readonly serialNumber: string;
  readonly revokedAtMs: number;
  readonly notAfterMs: number;
}

/** What a root's CRL lists: the revoked among those it signed, oldest revocation first. */
export function revokedAuthorities(parentId: string, rows: readonly AuthorityRow[]): readonly RevokedAuthority[] {
  return rows
    .filter(({ state, type }) => state === "revoked" && type !== "root")
    .map((row) => ({ ...row, certificate: parseCertificate(row.certificate) }))
    .filter(({ certificate: { authorityKeyIdentifier } }) => Buffer.from(authorityKeyIdentifier ?? []).toString("hex") === parentId)
    .map(({ certificate: { serialNumber }, stateSinceMs, notAfterMs }) => ({ serialNumber, revokedAtMs: stateSinceMs, notAfterMs }))
    .sort((one, other) => one.revokedAtMs - other.revokedAtMs || (one.serialNumber < other.serialNumber ? -1 : 1));
}

/** Their entries. An authority is revoked when its key is, or may be, somebody else's. */
export function encodeRevokedAuthorities(revoked: readonly RevokedAuthority[], nowMs: number): readonly Uint8Array[] {
  return revoked.map(({ serialNumber, revokedAtMs }) => encodeRevokedCertificate(serialNumber, Math.min(revokedAtMs, nowMs), "cACompromise"));
}

/** Whether a CRL has all of them. */
export function listsAll(crl: Uint8Array, revoked: readonly RevokedAuthority[]): boolean {
  const { entries } = parseCrl(crl);
  return revoked.every(({ serialNumber }) => entries.has(serialNumber));
}
