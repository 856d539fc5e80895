import { verifyLog } from "../audit/verify.ts";
import type { StoreReads } from "./reads.ts";
import { StoreError } from "./store.ts";

/** Values by property of the schema, the same on every kind of database. */
export type Row = Readonly<Record<string, unknown>>;

/** Every table of a store as it was at one instant. */
export interface TableSource {
  readonly tables: readonly string[];
  /** Rows of a table, in pages of at most `pageRows`. */
  pages(table: string): AsyncIterable<readonly Row[]>;
  count(table: string): Promise<number>;
  readonly reads: StoreReads;
  close(): Promise<void>;
}

/** An empty store that is filled in one transaction: until `commit` nobody else sees a row, and nothing is left of what was not committed. */
export interface TableTarget {
  readonly tables: readonly string[];
  insert(table: string, rows: readonly Row[]): Promise<void>;
  count(table: string): Promise<number>;
  /** What was inserted so far. */
  readonly reads: StoreReads;
  commit(): Promise<void>;
  /** Takes back what was not committed. */
  close(): Promise<void>;
}

export interface CopyProgress {
  /** A table's name, or `verify`. */
  readonly stage: string;
  readonly done: number;
  readonly total: number;
}

export interface Copied {
  readonly rows: number;
  /** Entries in the log. */
  readonly size: number;
  /** The newest checkpoint, which source and target share. */
  readonly checkpoint: string;
}

/**
 * Copies every table, verifies the whole log and what it says of the tables in the target, and only then commits.
 * @throws {StoreError} store_unavailable; log_inconsistent when what arrived is not what was sent, or did not fit before
 */
export async function copyTables(
  source: Pick<TableSource, "tables" | "pages"> & { readonly checkpoint?: string; readonly count?: TableSource["count"] },
  target: TableTarget,
  onProgress: (progress: CopyProgress) => void = () => {},
): Promise<Copied> {
  const missing = source.tables.filter((table) => !target.tables.includes(table));
  if (missing.length > 0) throw refused(`it has a table that this version does not know: ${missing.join(", ")}. Use the version it was made with, or a newer one`);
  let rows = 0;
  for (const table of source.tables) {
    const total = await source.count?.(table) ?? 0;
    let copied = 0;
    for await (const page of source.pages(table)) {
      await target.insert(table, page);
      copied += page.length;
      onProgress({ stage: table, done: copied, total });
    }
    if (await target.count(table) !== copied) throw refused(`${copied} rows of ${table} were read and ${await target.count(table)} arrived`);
    rows += copied;
  }
  const verdict = await verifyLog({
    store: target.reads,
    ...(source.checkpoint !== undefined && { checkpoints: [source.checkpoint] }),
    onProgress: ({ entries, total }) => onProgress({ stage: "verify", done: entries, total }),
  });
  if (!verdict.ok) throw refused(`its audit log does not verify: ${verdict.message}`);
  const newest = await target.reads.checkpoint();
  if (newest === undefined) throw refused("there is no CA in it");
  if (source.checkpoint !== undefined && newest.note !== source.checkpoint) throw refused("its newest checkpoint is another than before");
  // If we die before this line the target is as empty as it was; after it, all of it is there.
  await target.commit();
  return { rows, size: newest.size, checkpoint: newest.note };
}

function refused(fact: string): StoreError {
  return new StoreError("log_inconsistent", `The store was not copied: ${fact}. Nothing was written to the target.`);
}

/** A page of certificates is about 1 MB. */
export const pageRows = 1_000;
