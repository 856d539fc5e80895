import { setImmediate } from "node:timers/promises";
import { livesAfter, withoutFeed } from "./feed-reads.ts";
import type { CertificateRow } from "./rows/certificates.ts";
import type { HolderRow, HoldersQuery } from "./rows/holders.ts";

/** What a database reads for `holdersBehind`: a little at a time, where it keeps the event loop. */
export interface HolderSource {
  /** Log index of the newest certificate, -1 when there is none. */
  newestLogIndex(): Promise<number>;
  /** Certificates that end after `livesAfterMs` and have acknowledged less, those that end last first, then the newest; behind `after` in that order. */
  behind(query: { readonly sequence: number; readonly livesAfterMs: number; readonly after: HolderCandidate | undefined; readonly limit: number }): Promise<readonly HolderCandidate[]>;
  /** What certificates of these spans of the log were renewed from. */
  renewedFrom(spans: readonly LogSpan[]): Promise<readonly { readonly spiffeId: string; readonly renewedFrom: string }[]>;
}

export type HolderCandidate = HolderRow & Pick<CertificateRow, "logIndex" | "authorityId" | "attestation"> & { readonly revoked: boolean };

/** The certificates of one ID above `above` and below `below`. */
export interface LogSpan {
  readonly spiffeId: string;
  readonly above: number;
  readonly below: number;
}

/**
 * Finds who is behind, in steps between which others get their turn; linear in the certificates of the IDs that are. There is no
 * index of what certificates were renewed from, which would cost each issuance: they are read by ID, each once. What is renewed
 * while this runs counts as not renewed, since its successor may belong where we have been already.
 */
export async function listHoldersBehind(source: HolderSource, { sequence, authorityIds, nowMs, limit }: HoldersQuery): Promise<readonly HolderRow[]> {
  const found: HolderRow[] = [];
  const wasRenewed = renewalsOf(source, await source.newestLogIndex() + 1);
  const isHolder = ({ attestation, authorityId, revoked }: HolderCandidate): boolean =>
    !revoked && !withoutFeed.some((one) => one === attestation) && authorityIds?.includes(authorityId) !== false;
  for (let after: HolderCandidate | undefined; ;) {
    const page = await source.behind({ sequence, livesAfterMs: livesAfter(nowMs), after, limit: pageRows });
    const candidates = page.filter(isHolder);
    const renewed = await wasRenewed(candidates);
    for (const { spiffeId, serialNumber, acknowledgedSequence, notAfterMs } of candidates) {
      if (renewed(spiffeId, serialNumber)) continue;
      found.push({ spiffeId, serialNumber, acknowledgedSequence, notAfterMs });
      if (found.length === limit) return found;
    }
    after = page.at(-1);
    if (page.length < pageRows) return found;
    await setImmediate();
  }
}

/** Reads of each ID what its certificates were renewed from, down to the oldest that is asked about. */
function renewalsOf(source: HolderSource, end: number) {
  const known = new Map<string, { above: number; readonly serials: Set<string> }>();
  const knownOf = (spiffeId: string) => {
    let one = known.get(spiffeId);
    if (one === undefined) known.set(spiffeId, (one = { above: end - 1, serials: new Set() }));
    return one;
  };

  return async (candidates: readonly HolderCandidate[]): Promise<(spiffeId: string, serialNumber: string) => boolean> => {
    const oldest = new Map<string, number>();
    for (const { spiffeId, logIndex } of candidates) oldest.set(spiffeId, Math.min(logIndex, oldest.get(spiffeId) ?? logIndex));
    const spans = [...oldest].map(([spiffeId, above]) => ({ spiffeId, above, below: knownOf(spiffeId).above + 1 })).filter(({ above, below }) => above + 1 < below);
    for (const { spiffeId, renewedFrom } of spans.length === 0 ? [] : await source.renewedFrom(spans)) knownOf(spiffeId).serials.add(renewedFrom);
    for (const { spiffeId, above } of spans) knownOf(spiffeId).above = above;
    return (spiffeId, serialNumber) => known.get(spiffeId)?.serials.has(serialNumber) ?? false;
  };
}

/** Some milliseconds on SQLite. */
const pageRows = 256;
