import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";

/**
 * What is presented behind a certificate of each authority, by its ID: the authority and those above it up to the root, which is
 * everybody's own. As long as the root before is retiring, its cross certificate ends the chain: who has only the old anchor gets
 * there, who has the new one needs no more than what comes before.
 * @param certificates  of the rows, by ID
 */
export function chainsOf(rows: readonly AuthorityRow[], certificates: ReadonlyMap<string, Certificate>): ReadonlyMap<string, readonly Certificate[]> {
  const byId = new Map(rows.map((row) => [row.id, row]));

  function above(row: AuthorityRow | undefined, depth = 0): readonly Certificate[] {
    const certificate = row && certificates.get(row.id);
    if (row === undefined || certificate === undefined || depth > maxDepth) return [];
    if (row.type !== "root") return [certificate, ...above(byId.get(row.parentId ?? ""), depth + 1)];
    const cross = row.crossCertificate && parseCertificate(row.crossCertificate);
    const before = byId.get(Buffer.from(cross?.authorityKeyIdentifier ?? []).toString("hex"));
    return cross !== undefined && before?.state === "retiring" ? [cross, ...above(before, depth + 1)] : [];
  }

  return new Map(rows.map((row) => [row.id, above(row)]));
}

/** Issuer, intermediate, and three roots that follow each other faster than they retire: verifiers take eight certificates. */
const maxDepth = 4;
