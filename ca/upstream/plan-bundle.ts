import { isPublished } from "../authority-tree.ts";
import { authorityIdOf } from "../authority/active-issuer.ts";
import type { Certificate } from "../pki/certificate.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";

/** What has to become of the roots here for them to be those of the CA above. */
export interface BundlePlan {
  /** To be published here, prepared. */
  readonly add: readonly Certificate[];
  /** It gave them up. */
  readonly retire: readonly AuthorityRow[];
}

/**
 * Compares the roots here with the bundle of the CA above; undefined where they are the same. The active root stays even when it is not in
 * there: what the issuers here hang from is given up when another has taken over, or when it is revoked. Pure.
 * @param anchors  of its bundle
 */
export function planBundle(rows: readonly AuthorityRow[], anchors: readonly Certificate[]): BundlePlan | undefined {
  // A bundle without anchors would cut off everybody: the last good one stays.
  if (anchors.length === 0) return undefined;
  const ids = new Set(anchors.map(authorityIdOf));
  const known = new Set(rows.map(({ id }) => id));
  const add = anchors.filter((anchor) => anchor.subjectKeyIdentifier !== undefined && !known.has(authorityIdOf(anchor)));
  const retire = rows.filter((row) => row.type === "root" && isPublished(row) && !ids.has(row.id) && (row.state === "prepared" || row.state === "retiring"));
  return add.length + retire.length === 0 ? undefined : { add, retire };
}
