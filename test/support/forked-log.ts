import { parseCheckpoint } from "../../ca/audit/checkpoint.ts";
import { parseNote } from "../../ca/audit/note.ts";
import { logFixture } from "./log-fixture.ts";
import { memoryLog, memoryReader, type MemoryRows } from "./memory-log.ts";

/** One log key and two histories signed with it, as whoever has database and key could make them. */
export interface ForkedLog {
  readonly verifierKey: string;
  readonly told: MemoryRows;
  /** The same up to `forkedAt` entries; behind them other denials than were told. */
  readonly rewritten: MemoryRows;
  readonly forkedAt: number;
}

export function forkedLog(): ForkedLog {
  const [told, rewritten] = [memoryLog(), memoryLog()];
  const groups = logFixture(told.verifierKey);
  for (const acts of groups.slice(0, sharedGroups)) [told, rewritten].forEach((log) => log.commit(acts));
  const forkedAt = told.rows.entries.length;
  for (const acts of groups.slice(sharedGroups)) {
    told.commit(acts);
    rewritten.commit(acts.map((act) => (act.kind === "record" ? { ...act, entries: [act.entries[0].replace("attestation_refused", "attestation_unknown")] } : act)));
  }
  const checkpoints = rewritten.rows.checkpoints.map(({ size, note }) => ({ size, note: told.sign(size, parseCheckpoint(parseNote(note)).root) }));
  return { verifierKey: told.verifierKey, told: told.rows, rewritten: { ...rewritten.rows, checkpoints }, forkedAt };
}

/** As it was when it had so many entries, for a checkpoint that was signed then. */
export function truncated(rows: MemoryRows, size: number): MemoryRows {
  const checkpoints = rows.checkpoints.filter((row) => row.size <= size);
  return { ...rows, entries: rows.entries.slice(0, size), checkpoints };
}

/** The newest checkpoint up to a size, and what proofs are made of. */
export async function newestOf(rows: MemoryRows): Promise<{ readonly size: number; readonly note: string }> {
  const newest = await memoryReader(rows).checkpoint();
  if (newest === undefined) throw new Error("the log has no checkpoint");
  return newest;
}

const sharedGroups = 12;
