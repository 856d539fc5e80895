import type { AuthorityHolder, AuthoritySummary } from "../contract/authorities.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { describeName } from "../pki/name-text.ts";
import { encodePem } from "../pki/pem.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { HolderRow } from "../store/rows/holders.ts";
import type { Store } from "../store/store.ts";

/** What the API shows of an authority. */
export function summarizeAuthority(row: AuthorityRow): AuthoritySummary {
  const { id, type, state, certificate: der, key, parentId, publishedSequence, activateAtMs, lastNotAfterMs, notBeforeMs, notAfterMs } = row;
  const certificate = parseCertificate(der);
  return {
    id, type, state,
    subject: describeName(certificate.subject),
    keyAlgorithm: certificate.keyAlgorithm,
    fingerprint: certificate.fingerprint,
    notBefore: new Date(notBeforeMs).toISOString(),
    notAfter: new Date(notAfterMs).toISOString(),
    certificate: encodePem("CERTIFICATE", der),
    key: key.kind,
    ...(parentId !== undefined && { parentId }),
    ...(publishedSequence !== undefined && { publishedSequence: String(publishedSequence) }),
    ...(activateAtMs !== undefined && { activateAt: new Date(activateAtMs).toISOString() }),
    ...(lastNotAfterMs > 0 && { lastCertificateNotAfter: new Date(lastNotAfterMs).toISOString() }),
  };
}

/** The same, and of prepared roots, and JWT keys that an operator wants to take over, who does not trust them yet. */
export async function summarizeAuthorities(
  rows: readonly AuthorityRow[], store: Pick<Store, "holdersBehind">, nowMs: number,
): Promise<readonly AuthoritySummary[]> {
  return Promise.all(rows.map(async (row) => {
    const { type, state, publishedSequence: sequence, activateAtMs = Infinity } = row;
    // There is always a prepared JWT key; it waits for nobody until it is to be used.
    const waits = type === "root" || (type === "jwt" && activateAtMs <= nowMs);
    if (!waits || state !== "prepared" || sequence === undefined) return summarizeAuthority(row);
    const holders = await store.holdersBehind({ sequence, nowMs, limit: maxCounted });
    return { ...summarizeAuthority(row), waitsFor: { count: holders.length, holders: holders.slice(0, maxNamed).map(describeHolder) } };
  }));
}

/** A holder as the API tells of it. */
export function describeHolder({ spiffeId, serialNumber, acknowledgedSequence, notAfterMs }: HolderRow): AuthorityHolder {
  return { spiffeId, serialNumber, acknowledgedSequence: String(acknowledgedSequence), notAfter: new Date(notAfterMs).toISOString() };
}

/** Enough to see what they have in common. */
export const maxNamed = 10;
/** More are as good a reason to wait. */
export const maxCounted = 1000;
