import type { CheckpointRow, EntryRow } from "../store/rows/log.ts";
import { certificateDifference } from "./compare-rows.ts";
import { parseCheckpoint } from "./checkpoint.ts";
import { decodeEntry } from "./event.ts";
import { appendLeaf, hashLeaf, rootOf, type CompactRange } from "./merkle.ts";
import { misfit, type Misfit } from "./misfit.ts";
import { parseNote } from "./note.ts";
import type { LogReader } from "./verify.ts";

/**
 * Tells what became of an entry whose text does not fit its stored leaf hash: it was altered, or changed places with another
 * whose hashes stayed where they were.
 */
export async function explainLeaf(entry: EntryRow, leafHash: Uint8Array, source: LogReader): Promise<Misfit> {
  for (let start = entry.index + 1;;) {
    const page = await source.entries({ start, limit: pageSize });
    const other = page.find((candidate) => equal(candidate.leafHash, leafHash));
    if (other && equal(hashLeaf(other.body), entry.leafHash)) {
      return misfit("reordered", [entry.index, other.index], `Entries ${entry.index} and ${other.index} have changed ` +
        "places: the text of each fits the leaf hash stored with the other.");
    }
    const last = page.at(-1);
    if (last === undefined || other) {
      const copied = other && `It is now the text of entry ${other.index}.`;
      return misfit("altered", entry.index, `Entry ${entry.index} was altered: its text does not fit the leaf hash ` +
        `stored with it. ${copied ?? nameText(entry.body)}`);
    }
    start = last.index + 1;
  }
}

/**
 * Tells what became of the entries under a good checkpoint that they do not lead to, although each fits its stored leaf hash:
 * whoever did it recomputed those, so it takes other witnesses to say which entry it was. A pair that was swapped back
 * into the sealed root is proof; the log indexes in the certificates table are only testimony, and the message says so.
 * @param sealed  the tree up to the checkpoint before, which fits
 */
export async function explainRoot({ source, sealed, row }: {
  readonly source: LogReader;
  readonly sealed: CompactRange;
  readonly row: CheckpointRow;
}): Promise<Misfit> {
  const entries = await readEntries(source, sealed.size, Math.min(row.size, sealed.size + maxExplained));
  const swapped = findSwap(entries, sealed, row);
  if (swapped) {
    return misfit("reordered", swapped, `Entries ${swapped[0]} and ${swapped[1]} have changed places, leaf hashes and ` +
      `all: put back, they lead to the root that was signed over ${row.size} entries.`);
  }
  const range = [sealed.size, row.size - 1] as const;
  const fact = `${nameRange(range)} not what the log's key sealed in the checkpoint over ${row.size} entries, and the ` +
    "leaf hashes stored with them were recomputed to hide it.";
  const { displaced, settled, hint } = await askRows(entries, source, sealed.size);
  const length = await compareLength(source);
  if (displaced && length === "as sealed") {
    const pair = [Math.min(displaced.from, displaced.to), Math.max(displaced.from, displaced.to)] as const;
    return misfit("reordered", pair, `${fact} The certificate in entry ${displaced.to} is kept in the certificates table ` +
      `as that of entry ${displaced.from}: entries ${pair[0]} and ${pair[1]} have changed places, or one was moved.`);
  }
  if (length === "shorter") {
    const at = displaced && displaced.from > displaced.to ? ([settled, displaced.from - 1] as const) : range;
    return misfit("removed", at, `${fact} The log has fewer entries than were sealed: ${nameAmong(at)} was removed, and ` +
      "those behind were moved up.");
  }
  if (length === "longer") {
    const at = displaced && displaced.from < displaced.to ? ([settled, displaced.to - 1] as const) : range;
    return misfit("inserted", at, `${fact} The log has more entries than were sealed: ${nameAmong(at)} was inserted, and ` +
      "those behind were moved down.");
  }
  const which = range[0] === range[1] ? "" : ` Which of them was altered cannot be told from the log alone${hint}.`;
  return misfit("altered", range, `${fact}${which}`);
}

/** Tries each pair of a small segment: where two were swapped, swapping them back gives the signed root. */
function findSwap(
  entries: readonly EntryRow[], sealed: CompactRange, row: CheckpointRow,
): readonly [number, number] | undefined {
  if (entries.length > maxSwapped || sealed.size + entries.length !== row.size) return undefined;
  const { root } = parseCheckpoint(parseNote(row.note));
  const leaves = entries.map(({ leafHash }) => leafHash);
  for (let one = 0; one < leaves.length; one++) {
    for (let other = one + 1; other < leaves.length; other++) {
      const candidate = leaves.with(one, leaves[other]!).with(other, leaves[one]!);
      const range = candidate.reduce((grown, leaf) => appendLeaf(grown, leaf), sealed);
      if (equal(rootOf(range), root)) return [sealed.size + one, sealed.size + other];
    }
  }
  return undefined;
}

/** What the certificates table says of the entries: the first that is not where it was issued, or not what was issued. */
async function askRows(entries: readonly EntryRow[], source: LogReader, start: number) {
  let settled = start;
  let hint = "";
  for (const { index, body } of entries) {
    const event = decodeEntry(body);
    if (event?.type !== "certificate.issued") continue;
    const row = await source.certificate(event.serialNumber);
    if (row && row.logIndex !== index) return { displaced: { from: row.logIndex, to: index }, settled, hint };
    if (row) settled = index + 1;
    if (hint === "" && (!row || certificateDifference(event, row))) {
      hint = `; the certificates table disagrees with entry ${index}, so look there first`;
    }
  }
  return { displaced: undefined, settled, hint };
}

/** The number of entries against the newest checkpoint. */
async function compareLength(source: LogReader): Promise<"shorter" | "longer" | "as sealed"> {
  // Read in this order: while the CA goes on, the newest checkpoint can only seem too small.
  const newest = await source.checkpoint();
  const size = newest?.size ?? 0;
  const [last, beyond] = await source.entries({ start: Math.max(0, size - 1), limit: 2 });
  if (last === undefined) return "shorter";
  return beyond === undefined || (await source.checkpoint())?.size !== size ? "as sealed" : "longer";
}

async function readEntries(source: LogReader, start: number, end: number): Promise<readonly EntryRow[]> {
  const entries: EntryRow[] = [];
  while (start + entries.length < end) {
    const next = start + entries.length;
    const page = await source.entries({ start: next, limit: Math.min(pageSize, end - next) });
    if (page.length === 0) break;
    entries.push(...page);
  }
  return entries;
}

function nameText(body: string): string {
  const event = decodeEntry(body);
  return event ? `It now tells of ${event.type} by ${event.actor} at ${event.time}.` : "It is now no entry of ours at all.";
}

function nameRange([first, last]: readonly [number, number]): string {
  return last > first ? `Entries ${first} to ${last} are` : `Entry ${first} is`;
}

function nameAmong([first, last]: readonly [number, number]): string {
  return last > first ? `what lies among ${first} to ${last}` : `entry ${first}`;
}

function equal(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

const pageSize = 1000;
/** Entries of one commit that are read again to explain a misfit; a commit has some hundreds. */
const maxExplained = 10_000;
/** 64 entries have 2016 pairs: about half a second. */
const maxSwapped = 64;
