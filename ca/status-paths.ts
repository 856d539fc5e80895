/**
 * Where other software finds out whether a certificate is revoked. These paths stand in certificates, below the status URL, so
 * what is said here once is served for as long as such a certificate lives.
 */

/** One list of an authority's revoked certificates. */
export type CrlScope =
  /** Of an issuer: those whose serial number modulo `shards` is `shard`. One shard is all of them. */
  | { readonly kind: "shard"; readonly shard: number; readonly shards: number }
  /** Of a root: the authorities it signed. */
  | { readonly kind: "authorities" };

/** Path of OCSP, for POST; GET has the request behind it. */
export const ocspPath = "/ocsp";

/** @param list  of `crlListName` */
export function crlPath(authorityId: string, list: string): string {
  return `/crl/${authorityId}/${list}`;
}

/** Where an authority's certificate is, DER. */
export function authorityCertificatePath(authorityId: string): string {
  return `/authority/${authorityId}.cer`;
}

/** The number of shards is in the name: a certificate stays on its list when the setting is changed. */
export function crlListName(scope: CrlScope): string {
  if (scope.kind === "authorities") return "authorities.crl";
  return scope.shards === 1 ? "full.crl" : `${scope.shards}-${scope.shard}.crl`;
}

/** @returns undefined for what is not the name of a list */
export function parseCrlListName(name: string): CrlScope | undefined {
  if (name === "authorities.crl") return { kind: "authorities" };
  if (name === "full.crl") return { kind: "shard", shard: 0, shards: 1 };
  const [, shards, shard] = /^([1-9]\d{0,2})-(0|[1-9]\d{0,2})\.crl$/.exec(name)?.map(Number) ?? [];
  if (shards === undefined || shard === undefined || shards === 1 || !shardCounts.includes(shards) || shard >= shards) return undefined;
  return { kind: "shard", shard, shards };
}

/** Powers of two, so that a shard is some last bits of the serial number; few, so that nobody can have us sign many lists. */
export const shardCounts: readonly number[] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
