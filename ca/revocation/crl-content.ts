import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { encodeTbsCrl, type IssuingDistributionPoint } from "../pki/crl-encoding.ts";
import { signatureAlgorithmFor } from "../pki/key.ts";
import { crlPath, parseCrlListName, type CrlScope } from "../status-paths.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { CrlRow } from "../store/rows/crls.ts";
import type { MeantCrl } from "../lint/crl.ts";
import type { RevocationIndex } from "./revocation-index.ts";

/** One list of one authority. */
export interface CrlTarget {
  readonly row: AuthorityRow;
  readonly list: string;
  readonly scope: CrlScope;
  /** Names the list among all of them. */
  readonly key: string;
}

/** What a CRL was made of: enough to make its signed bytes again, as long as its revocations are in the index. */
export type CrlRecipe = Pick<CrlRow, "number" | "thisUpdateMs" | "nextUpdateMs" | "sequence" | "droppedSequence" | "droppedBeforeMs">;

/** Which lists there are, and the bytes of each: a pure function of the recipe and the revocations. */
export interface CrlContent {
  /** Undefined for what is no list, or one of an authority that has ended. */
  target(authorityId: string, list: string): CrlTarget | undefined;
  isLive(row: AuthorityRow): boolean;
  /** @throws {RangeError} above 16 MiB */
  encode(target: CrlTarget, recipe: CrlRecipe): { readonly tbs: Uint8Array; readonly meant: MeantCrl };
  /** Whether a CRL has all that is in the index. */
  isComplete(target: CrlTarget, crl: Pick<CrlRow, "sequence">): boolean;
}

/** Makes what a CRL says, from what is known of revocations. */
export function crlContent({ index, authorities, statusUrl, now }: {
  readonly index: RevocationIndex;
  readonly authorities: () => readonly AuthorityRow[];
  readonly statusUrl: string | undefined;
  readonly now: () => Date;
}): CrlContent {
  const isLive = ({ type, state, notAfterMs }: AuthorityRow): boolean =>
    type !== "jwt" && state !== "prepared" && state !== "retired" && notAfterMs + 1000 > now().getTime();

  /** Of a root all that it signed: authorities, cross certificates and issuers for others are revoked as any certificate is. */
  const entriesOf = ({ row, scope }: CrlTarget) => ({ issuerId: row.id, ...(scope.kind === "shard" ? scope : whole) });

  /** A list that is one of several names its place, which is in the certificates on it; one of all needs no name. */
  function pointOf({ row, list, scope }: CrlTarget): IssuingDistributionPoint {
    if (scope.kind === "authorities") return { only: "authorities" };
    if (scope.shards === 1 || statusUrl === undefined) return { only: "end-entities" };
    return { only: "end-entities", url: `${statusUrl}${crlPath(row.id, list)}` };
  }

  return {
    isLive,
    target(authorityId, list) {
      const scope = parseCrlListName(list);
      const row = authorities().find(({ id }) => id === authorityId);
      if (scope === undefined || row === undefined || !isLive(row)) return undefined;
      // An issuer signs workloads only, the others sign authorities only.
      if ((row.type === "issuer") !== (scope.kind === "shard")) return undefined;
      return { row, list, scope, key: `${authorityId}/${list}` };
    },
    encode(target, recipe) {
      const certificate: Certificate = parseCertificate(target.row.certificate);
      const { entries, count } = index.select(entriesOf(target), recipe);
      const meant = { issuer: certificate, ...recipe, scope: pointOf(target), count };
      const tbs = encodeTbsCrl({
        ...meant, signatureAlgorithm: signatureAlgorithmFor(certificate.keyAlgorithm), issuer: certificate.subject,
        authorityKeyIdentifier: Buffer.from(target.row.id, "hex"), entries,
      });
      return { tbs, meant };
    },
    isComplete: (target, { sequence }) => !index.hasNewer(entriesOf(target), sequence),
  };
}

const whole = { shard: 0, shards: 1 } as const;
