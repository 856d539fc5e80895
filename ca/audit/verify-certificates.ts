import type { CertificateRow } from "../store/rows/certificates.ts";
import type { RevocationRow } from "../store/rows/revocations.ts";
import { certificateDifference, revocationDifference } from "./compare-rows.ts";
import type { RecordedEvent } from "./event.ts";
import { misfit, type Misfit } from "./misfit.ts";
import { prunedRows, type PrunedRows } from "./pruned-rows.ts";
import { pageSize, readEntries, type ReadEntry } from "./verify-tables.ts";
import type { LogReader } from "./verify.ts";

/**
 * Holds the certificates and the revocations against the entries, page by page: both tables are kept in the order of the log,
 * a certificate under the index of its entry, a revocation under that plus one.
 */
export function certificateVerifier(source: LogReader) {
  const pruned = prunedRows(source);
  let certificates = 0;
  let revocations = 0;
  return {
    counts: () => ({ certificates, revocations }),

    /** Rows and entries of [start, start + entries.length). */
    async page(start: number, entries: readonly ReadEntry[]): Promise<Misfit | undefined> {
      const end = start + entries.length;
      const countOf = (type: RecordedEvent["type"]) => entries.filter(({ event }) => event?.type === type).length;
      const issuedRows = await certificatesBetween(source, start, end, countOf("certificate.issued") + 1);
      const revokedRows = await revocationsBetween(source, start, end, countOf("certificate.revoked") + countOf("authority.revoked") + countOf("upstream.revoked") + 1);
      const issued = new Map(issuedRows.map((row) => [row.logIndex, row]));
      const revoked = new Map(revokedRows.map((row) => [row.sequence - 1, row]));
      // Keys the log could not have given.
      const stray = [...issued.keys(), ...revoked.keys()].find((index) => index < start || !Number.isInteger(index));
      if (stray !== undefined) return misfit("row_without_entry", undefined, "A certificate or revocation is kept under " +
        `log index ${stray}, which no entry can have.`);
      for (const { index, event } of entries) {
        const wrong = await compareCertificate(index, event, issued.get(index), source, pruned)
          ?? compareRevocation(index, event, revoked.get(index));
        if (wrong) return wrong;
      }
      certificates += issued.size;
      revocations += revoked.size;
      return undefined;
    },

    /** Rows that claim a place at or behind `size`: good while the CA goes on, if their entries are there too. */
    async beyond(size: number): Promise<Misfit | undefined> {
      let first: Misfit | undefined;
      for (let before: number | undefined; ;) {
        const page = await source.certificates({ limit: pageSize, nowMs: 0, ...(before === undefined ? {} : { before }) });
        for (const row of page.filter(({ logIndex }) => logIndex >= size)) {
          const [entry] = await readEntries(source, row.logIndex, 1);
          const event = entry?.index === row.logIndex ? entry.event : undefined;
          first = await compareCertificate(row.logIndex, event, row, source, pruned, size) ?? first;
        }
        before = page.at(-1)?.logIndex;
        if (before === undefined || before < size) break;
      }
      if (first) return first;
      for (const row of await revocationsBetween(source, size, Infinity, pageSize)) {
        const index = row.sequence - 1;
        const [entry] = await readEntries(source, index, 1);
        const wrong = compareRevocation(index, entry?.index === index ? entry.event : undefined, row, size);
        if (wrong) return wrong;
      }
      return undefined;
    },
  };
}

/** @param size  given when the row lies behind the verified log: it may then be a witness of what was cut off */
async function compareCertificate(
  index: number, event: RecordedEvent | undefined, row: CertificateRow | undefined, source: LogReader, pruned: PrunedRows, size?: number,
): Promise<Misfit | undefined> {
  if (event?.type !== "certificate.issued") {
    if (row === undefined) return undefined;
    return misfit("row_without_entry", index, `The certificates table has ${nameCertificate(row)} under log index ` +
      `${index}, but ${nothingAt(index, size)}: it was never ` +
      `logged${size === undefined ? "" : ", or the log was cut off before it"}.`);
  }
  if (row === undefined) {
    if (await pruned.covers(index, event.notAfter)) return undefined;
    const elsewhere = await source.certificate(event.serialNumber);
    if (elsewhere) {
      return misfit("row_differs", index, `Entry ${index} issued ${nameCertificate(event)}, but its row in the ` +
        `certificates table names entry ${elsewhere.logIndex}: the row was altered.`);
    }
    return misfit("entry_without_row", index, `Entry ${index} issued ${nameCertificate(event)}, but the certificates ` +
      "table does not have it: its row was removed. The log is right; the certificate exists and is valid until it " +
      "expires.");
  }
  const difference = certificateDifference(event, row);
  if (difference === undefined) return undefined;
  return misfit("row_differs", index, `The certificates table disagrees with entry ${index}, which issued ` +
    `${nameCertificate(event)}, about the ${difference}: the row was altered. The log is right.`);
}

function compareRevocation(
  index: number, event: RecordedEvent | undefined, row: RevocationRow | undefined, size?: number,
): Misfit | undefined {
  if (event?.type !== "certificate.revoked" && event?.type !== "authority.revoked" && event?.type !== "upstream.revoked") {
    if (row === undefined) return undefined;
    return misfit("row_without_entry", index, `The revocations table has certificate ${row.serialNumber} with sequence ` +
      `${row.sequence}, but ${nothingAt(index, size)}: it was never ` +
      `logged${size === undefined ? "" : ", or the log was cut off before it"}.`);
  }
  if (row === undefined) {
    return misfit("entry_without_row", index, `Entry ${index} revoked certificate ${event.serialNumber} of ` +
      `${revokedBy(event)}, but the revocations table does not have it under that index: its row was removed or altered. ` +
      "The certificate passes for good again.");
  }
  const difference = revocationDifference(event, row);
  if (difference === undefined) return undefined;
  return misfit("row_differs", index, `The revocations table disagrees with entry ${index}, which revoked certificate ` +
    `${event.serialNumber}, about the ${difference}: the row was altered. The log is right.`);
}

function revokedBy(event: Extract<RecordedEvent, { readonly type: "certificate.revoked" | "authority.revoked" | "upstream.revoked" }>): string {
  if (event.type === "certificate.revoked") return event.spiffeId;
  return event.type === "authority.revoked" ? `authority ${event.authorityId}` : `a CA under ${event.trustDomain}`;
}

/**
 * Rows with a log index in [start, end), on the first page also below it.
 * @param limit  rows read at a time: one more than are expected, so that one query is enough where all is well
 */
async function certificatesBetween(
  source: LogReader, start: number, end: number, limit: number,
): Promise<readonly CertificateRow[]> {
  const rows: CertificateRow[] = [];
  for (let before = end; ;) {
    const page = await source.certificates({ before, limit, nowMs: 0 });
    rows.push(...page.filter(({ logIndex }) => start === 0 || logIndex >= start));
    const last = page.at(-1);
    if (last === undefined || last.logIndex < start) return rows;
    before = last.logIndex;
  }
}

async function revocationsBetween(
  source: LogReader, start: number, end: number, limit: number,
): Promise<readonly RevocationRow[]> {
  const rows: RevocationRow[] = [];
  for (let after = start === 0 ? -1 : start; ;) {
    const page = await source.revocations({ after, limit });
    rows.push(...page.filter(({ sequence }) => sequence <= end));
    const last = page.at(-1);
    if (last === undefined || last.sequence > end) return rows;
    after = last.sequence;
  }
}

function nothingAt(index: number, size: number | undefined): string {
  return size === undefined ? `entry ${index} issued or revoked nothing of the kind` : `the log ends after ${size} entries`;
}

function nameCertificate({ serialNumber, spiffeId }: { readonly serialNumber: string; readonly spiffeId: string }): string {
  return `certificate ${serialNumber} for ${spiffeId}`;
}
