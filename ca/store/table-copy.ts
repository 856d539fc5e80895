import { verifyLog } from "../audit/verify.ts";
import type { StoreReads } from "./reads.ts";
import { StoreError } from "./errors.ts";

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

/** Some rows of a table. */
export interface TablePage {
  readonly table: string;
  readonly rows: readonly Row[];
  /** Of the table, where it is known. */
  readonly total?: number;
}

export interface CopyRequest {
  readonly pages: AsyncIterable<TablePage>;
  readonly target: TableTarget;
  /** The newest that must arrive. */
  readonly checkpoint: string;
  /** Others, kept elsewhere, that the log must contain. */
  readonly witnessed?: readonly string[];
  /** Called when everything has arrived and verifies. */
  readonly beforeCommit?: () => void;
  readonly onProgress?: (progress: CopyProgress) => void;
}

/**
 * Fills a store with every row, verifies there the whole log and what it says of the tables, and only then commits.
 * @throws {StoreError} store_unavailable; log_inconsistent when what arrived is not what was sent, or did not fit before
 */
export async function copyTables({ pages, target, checkpoint, witnessed = [], beforeCommit, onProgress = () => {} }: CopyRequest): Promise<Copied> {
  const copied = new Map<string, number>();
  for await (const { table, rows, total = 0 } of pages) {
    if (!target.tables.includes(table)) throw refused(`it has a table that this version does not know: ${table}. Use the version it was made with, or a newer one`);
    await target.insert(table, rows);
    const done = (copied.get(table) ?? 0) + rows.length;
    copied.set(table, done);
    onProgress({ stage: table, done, total });
  }
  for (const table of target.tables) {
    const [sent, arrived] = [copied.get(table) ?? 0, await target.count(table)];
    if (sent !== arrived) throw refused(`${sent} rows of ${table} were read and ${arrived} arrived`);
  }
  const verdict = await verifyLog({
    store: target.reads,
    checkpoints: [checkpoint, ...witnessed],
    onProgress: ({ entries, total }) => onProgress({ stage: "verify", done: entries, total }),
  });
  if (!verdict.ok) throw refused(`its audit log does not verify: ${verdict.message}`);
  const newest = await target.reads.checkpoint();
  if (newest?.note !== checkpoint) throw refused("its newest checkpoint is another than before");
  beforeCommit?.();
  // If we die before this line the target is as empty as it was; after it, all of it is there.
  await target.commit();
  return { rows: [...copied.values()].reduce((sum, rows) => sum + rows, 0), size: newest.size, checkpoint };
}

/** Every row of every table. */
export async function* everyPage(source: TableSource): AsyncGenerator<TablePage> {
  for (const table of source.tables) {
    const total = await source.count(table);
    for await (const rows of source.pages(table)) yield { table, rows, total };
  }
}

function refused(fact: string): StoreError {
  return new StoreError("log_inconsistent", `The store was not copied: ${fact}. Nothing was written to the target.`);
}

/** A page of certificates is about 1 MB. */
export const pageRows = 1_000;
