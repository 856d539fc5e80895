import type { RevocationInfo } from "../pki/extension-encoding.ts";
import { authorityCertificatePath, crlListName, crlPath, ocspPath } from "../status-paths.ts";

/** What certificates of a profile say about their revocation. */
export type RevocationProfile =
  /** That it is published below this URL, on so many CRLs for each issuer. */
  | { readonly kind: "published"; readonly statusUrl: string; readonly crlShards: number }
  /** That it is not: they are gone soon enough. @source RFC 9608 */
  | { readonly kind: "not-available" };

/**
 * What certificates by this issuer say, one for each shard of its CRL.
 * @param issuerId  lower-case hex of its subject key identifier
 * @returns undefined where they say nothing
 */
export function revocationInfoBy(issuerId: string, profile: RevocationProfile | undefined): readonly RevocationInfo[] | undefined {
  if (profile === undefined) return undefined;
  if (profile.kind === "not-available") return [{ noRevocationAvailable: true }];
  const { statusUrl, crlShards } = profile;
  return Array.from({ length: crlShards }, (_, shard) => ({
    crlUrl: `${statusUrl}${crlPath(issuerId, crlListName({ kind: "shard", shard, shards: crlShards }))}`,
    ocspUrl: `${statusUrl}${ocspPath}`,
    issuerUrl: `${statusUrl}${authorityCertificatePath(issuerId)}`,
  }));
}

/** What the certificate of an issuer says: on which of the root's CRLs it would be. */
export function authorityRevocationInfo(rootId: string, statusUrl: string): RevocationInfo {
  return {
    crlUrl: `${statusUrl}${crlPath(rootId, crlListName({ kind: "authorities" }))}`,
    issuerUrl: `${statusUrl}${authorityCertificatePath(rootId)}`,
  };
}
