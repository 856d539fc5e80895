import { decodeEntry, type RecordedEvent } from "./event.ts";
import { misfit, type Misfit } from "./misfit.ts";
import { ceremonyVerifier } from "./verify-ceremonies.ts";
import { certificateVerifier } from "./verify-certificates.ts";
import { crlVerifier } from "./verify-crls.ts";
import { documentVerifier } from "./verify-documents.ts";
import { feedVerifier } from "./verify-feed.ts";
import { standingVerifier } from "./verify-standing.ts";
import type { LogReader } from "./verify.ts";

export interface TablesFit {
  readonly ok: true;
  readonly certificates: number;
  readonly revocations: number;
}

/** An entry as it was read back; undefined where its text is no entry of ours. */
export interface ReadEntry {
  readonly index: number;
  readonly event: RecordedEvent | undefined;
}

/**
 * Holds a verified log against the tables: every certificate, revocation, token, authority, document, CRL and ceremony has its entry,
 * every entry its row, and they tell the same. Rows and entries are committed together, so this holds at any instant. Not held, since no
 * entry tells of them: leases, idempotency keys, spent requests, reports, acknowledgements and when a token was last used.
 * @param size  how much of the log is verified; what the CA adds meanwhile is looked at only where a row needs it
 */
export async function verifyTables({ source, size, verifierKey, onEntries }: {
  readonly source: LogReader;
  readonly size: number;
  readonly verifierKey: string | undefined;
  readonly onEntries: (entries: number) => void;
}): Promise<TablesFit | Misfit> {
  const certificates = certificateVerifier(source);
  const others = [standingVerifier, documentVerifier, crlVerifier, ceremonyVerifier, feedVerifier].map((verifier) => verifier(source));
  for (let start = 0; start < size;) {
    onEntries(start);
    const entries = (await readEntries(source, start)).filter(({ index }) => index < size);
    if (entries.at(-1)?.index !== start + entries.length - 1) {
      return misfit("removed", start, `Entry ${start} or one soon behind it was removed while the log was being verified.`);
    }
    const first = entries[0]?.event;
    if (start === 0 && first?.type === "ca.initialized" && first.logKey !== verifierKey) {
      return misfit("unknown_key", 0, `The log began with the key ${first.logKey}, but it is sealed with ${verifierKey}: ` +
        "somebody sealed it anew.");
    }
    const wrong = await certificates.page(start, entries);
    if (wrong) return wrong;
    for (const other of others) other.page(entries);
    start += entries.length;
  }
  const beyond = await certificates.beyond(size);
  if (beyond) return beyond;
  for (const other of others) {
    const wrong = await other.settle(size);
    if (wrong) return wrong;
  }
  return { ok: true, ...certificates.counts() };
}

/** A page of entries from an index on, in the form the tables are held against. */
export async function readEntries(source: LogReader, start: number, limit = pageSize): Promise<readonly ReadEntry[]> {
  return (await source.entries({ start, limit })).map(({ index, body }) => ({ index, event: decodeEntry(body) }));
}

/** The entries from an index on, up to the last there is by then. */
export async function* entriesFrom(source: LogReader, start: number): AsyncGenerator<ReadEntry> {
  for (let next = start; ;) {
    const entries = await readEntries(source, next);
    if (entries.length === 0) return;
    yield* entries;
    next += entries.length;
  }
}

/** Rows read at a time. */
export const pageSize = 1000;
