import { isOver } from "../authority-tree.ts";
import type { Revocation } from "../contract/revocations.ts";
import { parseCertificate } from "../pki/certificate.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";

/** What revocations of the CA above mean here. */
export interface RevocationPlan {
  /** Authorities here that are revoked with it: our own issuer, or what stands above it. */
  readonly own: readonly { readonly row: AuthorityRow; readonly revocation: Revocation }[];
  /** CAs of other clusters, and of the one above: whatever they signed is refused here too. */
  readonly others: readonly Revocation[];
}

/**
 * Chooses what is to be taken over: of CAs only, since workloads of other trust domains are revoked by their own CA's feed. Pure.
 * @param known  serial numbers that are on our own deny-list already
 */
export function planRevocations(rows: readonly AuthorityRow[], revocations: readonly Revocation[], known: ReadonlySet<string>, nowMs: number): RevocationPlan {
  const fresh = revocations.filter(({ serialNumber, notAfter, authority }) => authority === true && isSerialNumber(serialNumber) && Date.parse(notAfter) >= nowMs && !known.has(serialNumber));
  const ours = new Map(rows.filter(({ type, state }) => type !== "jwt" && !isOver(state)).map((row) => [parseCertificate(row.certificate).serialNumber, row]));
  return {
    own: fresh.flatMap((revocation) => {
      const row = ours.get(revocation.serialNumber);
      return row === undefined ? [] : [{ row, revocation }];
    }),
    others: fresh.filter(({ serialNumber }) => !ours.has(serialNumber)),
  };
}

function isSerialNumber(text: unknown): text is string {
  return typeof text === "string" && /^[0-9a-f]{1,40}$/.test(text);
}
