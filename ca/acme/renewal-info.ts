import type { CertificateRow } from "../store/rows/certificates.ts";
import type { Store } from "../store/store.ts";

/** What an ARI identifier names: authority key identifier and serial number, lower-case hex. */
export interface CertificateId {
  readonly authorityId: string;
  readonly serialNumber: string;
}

/** @returns undefined for what is no identifier @source RFC 9773 section 4.1 */
export function parseCertificateId(text: string): CertificateId | undefined {
  const [, authority = "", serial = ""] = /^([A-Za-z0-9_-]{1,86})\.([A-Za-z0-9_-]{1,30})$/.exec(text) ?? [];
  const [authorityId, octets] = [authority, serial].map((part) => Buffer.from(part, "base64url"));
  if (authorityId === undefined || octets === undefined || authorityId.length === 0 || octets.length === 0) return undefined;
  if (authorityId.toString("base64url") !== authority || octets.toString("base64url") !== serial) return undefined;
  // The content octets of a DER INTEGER: the zero before a high bit is part of them, and no other.
  const lead = octets[0] === 0;
  if (lead ? (octets[1] ?? 0) < 0x80 : (octets[0] ?? 0) >= 0x80) return undefined;
  return { authorityId: authorityId.toString("hex"), serialNumber: (lead ? octets.subarray(1) : octets).toString("hex") };
}

/** Reads the certificate that an identifier names; undefined: none of ours. */
export async function certificateBy(store: Pick<Store, "certificate">, text: string): Promise<CertificateRow | undefined> {
  const id = parseCertificateId(text);
  const row = id && (await store.certificate(id.serialNumber));
  return row?.authorityId === id?.authorityId ? row : undefined;
}

/**
 * When its holder should renew: around two thirds of its life, or at once where it is revoked.
 * @source RFC 9773 section 4.2
 */
export function suggestedWindow({ notBeforeMs, notAfterMs, revokedAtMs }: Pick<CertificateRow, "notBeforeMs" | "notAfterMs" | "revokedAtMs">, nowMs: number): { readonly start: string; readonly end: string } {
  const lifeMs = notAfterMs - notBeforeMs;
  const [startMs, endMs] = revokedAtMs === undefined ? [notBeforeMs + lifeMs * 0.62, notBeforeMs + lifeMs * 0.7] : [nowMs - 2000, nowMs - 1000];
  return { start: new Date(startMs).toISOString(), end: new Date(endMs).toISOString() };
}
