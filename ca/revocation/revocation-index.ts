import { setImmediate } from "node:timers/promises";
import { encodeRevokedCertificate } from "../pki/crl-encoding.ts";
import type { RevocationRow } from "../store/rows/revocations.ts";
import type { Store } from "../store/store.ts";

/** The entries of CRLs to be, encoded once and kept in memory, so that a CRL costs little more than its signature. */
export interface RevocationIndex {
  /** Takes in what was revoked since, in small steps; resolves to the sequence of the newest revocation in it. */
  refresh(): Promise<number>;
  /** Whether there is one on the list above a sequence. */
  hasNewer(list: ListedCertificates, sequence: number): boolean;
  /** The entries of a list, in the order of their sequence. */
  select(list: ListedCertificates, choice: EntryChoice): Selection;
  /** Forgets the revocations of all other issuers. */
  keepOnly(issuerIds: ReadonlySet<string>): void;
}

/** An issuer's certificates whose serial number modulo `shards` is `shard`. */
export interface ListedCertificates {
  readonly issuerId: string;
  readonly shard: number;
  /** A power of two, at most 256. */
  readonly shards: number;
}

/** Which revocations a CRL has: what it was made of, so that it can be made once more. */
export interface EntryChoice {
  /** Those up to here. */
  readonly sequence: number;
  /** But for those up to here of certificates that ended before `droppedBeforeMs`. */
  readonly droppedSequence: number;
  readonly droppedBeforeMs: number;
}

export interface Selection {
  /** Pieces of any number of entries, one after another. */
  readonly entries: readonly Uint8Array[];
  readonly count: number;
}

/**
 * @param isLive  whether an issuer's CRLs are still made: revocations of others are passed over
 * @param now     no revocation is listed with a date that has not come yet: another replica's clock may be ahead
 */
export function revocationIndex({ store, isLive, now }: {
  readonly store: Pick<Store, "revocations" | "revocationSequence">;
  readonly isLive: (issuerId: string) => boolean;
  readonly now: () => Date;
}): RevocationIndex {
  const byIssuer = new Map<string, IssuerEntries>();
  let at = 0;
  let reading: Promise<void> | undefined;

  async function readUpTo(newest: number): Promise<void> {
    while (at < newest) {
      const page = await store.revocations({ after: at, limit: pageSize });
      const last = page.at(-1);
      if (last === undefined) return;
      for (const row of page) take(row);
      at = last.sequence;
      // The event loop is for issuing: thousands of entries wait in between.
      await setImmediate();
    }
  }

  function take(row: RevocationRow): void {
    if (!isLive(row.authorityId)) return;
    let entries = byIssuer.get(row.authorityId);
    if (entries === undefined) byIssuer.set(row.authorityId, (entries = issuerEntries()));
    entries.push(row, Math.min(row.revokedAtMs, now().getTime()));
  }

  return {
    async refresh() {
      const newest = await store.revocationSequence();
      // A store put back to an earlier state begins anew.
      if (newest < at) {
        at = 0;
        byIssuer.clear();
      }
      while (at < newest) {
        const before = at;
        await (reading ??= readUpTo(newest).finally(() => (reading = undefined)));
        if (at === before) break;
      }
      return at;
    },
    hasNewer: ({ issuerId, shard, shards }, sequence) => byIssuer.get(issuerId)?.hasNewer(shard, shards, sequence) ?? false,
    select: ({ issuerId, shard, shards }, choice) => byIssuer.get(issuerId)?.select(shard, shards, choice) ?? { entries: [], count: 0 },
    keepOnly(issuerIds) {
      for (const id of byIssuer.keys()) if (!issuerIds.has(id)) byIssuer.delete(id);
    },
  };
}

type IssuerEntries = ReturnType<typeof issuerEntries>;

/** One issuer's entries, one after another in one buffer, with what decides about each beside it. */
function issuerEntries() {
  let bytes = Buffer.alloc(4096);
  const ends: number[] = [];
  const sequences: number[] = [];
  const notAfterMs: number[] = [];
  const lastOctets: number[] = [];
  const startOf = (index: number): number => index === 0 ? 0 : ends[index - 1]!;

  return {
    push(row: RevocationRow, revokedAtMs: number): void {
      const entry = encodeRevokedCertificate(row.serialNumber, revokedAtMs, row.reason);
      const start = startOf(ends.length);
      if (start + entry.length > bytes.length) {
        // A new buffer: pieces of the old one may still be on their way into a CRL.
        const larger = Buffer.alloc(bytes.length * 2);
        larger.set(bytes);
        bytes = larger;
      }
      bytes.set(entry, start);
      ends.push(start + entry.length);
      sequences.push(row.sequence);
      notAfterMs.push(row.notAfterMs);
      lastOctets.push(Number.parseInt(row.serialNumber.slice(-2), 16));
    },

    hasNewer(shard: number, shards: number, sequence: number): boolean {
      for (let index = ends.length - 1; index >= 0 && sequences[index]! > sequence; index--) {
        if ((lastOctets[index]! & (shards - 1)) === shard) return true;
      }
      return false;
    },

    select(shard: number, shards: number, { sequence, droppedSequence, droppedBeforeMs }: EntryChoice): Selection {
      const entries: Uint8Array[] = [];
      let count = 0;
      let runStart = -1;
      for (let index = 0; index <= ends.length; index++) {
        const listed = index < ends.length && (lastOctets[index]! & (shards - 1)) === shard && sequences[index]! <= sequence
          && (sequences[index]! > droppedSequence || notAfterMs[index]! >= droppedBeforeMs);
        if (listed) {
          count += 1;
          if (runStart < 0) runStart = startOf(index);
        } else if (runStart >= 0) {
          // Neighbours are one piece: of a list of all there is but one.
          entries.push(bytes.subarray(runStart, startOf(index)));
          runStart = -1;
        }
      }
      return { entries, count };
    },
  };
}

/** About a millisecond of encoding. */
const pageSize = 256;
