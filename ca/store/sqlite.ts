import Database from "better-sqlite3";
import { desc } from "drizzle-orm";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { writeQueue } from "./acknowledgements.ts";
import { groupCommit, storeClosed } from "./group-commit.ts";
import { emptyHead, readHead } from "./head.ts";
import { migrationsOf } from "./migrations.ts";
import { notedUse } from "./noted-use.ts";
import { guardReads } from "./reads.ts";
import { auditCheckpoints, logHead } from "./schema-sqlite.ts";
import { prepareSqliteFile, requireReadable } from "./sqlite-file.ts";
import { openSqliteReads } from "./sqlite-reads.ts";
import { sqliteThread } from "./sqlite-thread.ts";
import { StoreError } from "./errors.ts";
import type { Acknowledgement } from "./rows/holders.ts";
import type { ReportRow } from "./rows/reports.ts";
import type { Store } from "./store.ts";

export interface SqliteOptions {
  readonly path: string;
  /** For looking only: nothing is created, migrated or locked, and `commit` is refused. */
  readonly readOnly?: boolean;
  /** Default: `migrations/sqlite` of the repository. */
  readonly migrationsFolder?: string;
  readonly onLocked?: ((lockedMs: number) => void) | undefined;
  /** What the writer's thread runs; tests give one that breaks. */
  readonly writerEntry?: URL;
}

/**
 * The store in one file: written by a thread, in groups; read here, on a second connection that sees what is committed.
 * @throws {StoreError} store_unavailable | log_inconsistent
 */
export async function openSqlite({ path, readOnly = false, migrationsFolder, writerEntry, onLocked }: SqliteOptions): Promise<Store> {
  if (!readOnly) prepareSqliteFile(path, migrationsFolder ?? migrationsOf("sqlite"));
  const reader = openReader(path);
  const reads = openSqliteReads(reader, path);
  if (!readOnly) checkHead(reader);
  const thread = readOnly ? undefined : sqliteThread(path, writerEntry, onLocked);
  const group = groupCommit((acts) => writer().commitGroup(acts));
  const acknowledgements = writeQueue<Acknowledgement>("acknowledgements", (rows) => writer().acknowledge(rows));
  const reports = writeQueue<ReportRow>("reports", (rows) => writer().report(rows, []));
  const touch = notedUse((id, usedAtMs) => writer().touchToken(id, usedAtMs));

  function writer() {
    if (thread === undefined) throw new StoreError("store_unavailable", `${path} was opened for reading only.`);
    return thread;
  }

  function open(): void {
    if (!reader.open) throw storeClosed();
  }

  return {
    kind: "sqlite",
    ...guardReads(reads, open),
    unlock: async (sealer) => writer().unlock(sealer),
    commit: (act) => group.commit(act),
    touchToken: touch,
    acquireLease: async (claim) => writer().acquireLease(claim),
    releaseLease: async (lease) => writer().releaseLease(lease),
    acknowledge: acknowledgements.add,
    spendRequest: async (request, nowMs) => writer().spendRequest(request, nowMs),
    putAcmeRecord: async (record, nowMs) => writer().putAcmeRecord(record, nowMs),
    report: reports.add,
    dropReports: async (keys) => writer().report([], keys),
    swapReport: async (row, expected) => writer().swapReport(row, expected),
    databaseTimeMs: () => undefined,
    async ping() {
      open();
      reader.prepare("select 1").get();
      await thread?.ping();
    },
    async close() {
      await Promise.all([group.close(), acknowledgements.close(), reports.close()]);
      reader.close();
      // The last one to close, which can write, folds the write-ahead log into the database.
      await thread?.close();
    },
  };
}

function openReader(path: string): Database.Database {
  requireReadable(path);
  try {
    const reader = new Database(path, { readonly: true, fileMustExist: true, timeout: readTimeoutMs });
    reader.pragma("query_only = ON");
    return reader;
  } catch (cause) {
    throw new StoreError("store_unavailable", `The database ${path} cannot be read. Look at its permissions and whether it is a SQLite file.`, { cause });
  }
}

function checkHead(reader: Database.Database): void {
  // In one transaction: another process may commit between the two reads.
  drizzle(reader).transaction((transaction) => {
    const head = transaction.select().from(logHead).get();
    readHead(head ?? emptyHead, transaction.select().from(auditCheckpoints).orderBy(desc(auditCheckpoints.size)).limit(1).get());
  });
}

/** In WAL mode a reader waits for nobody, but for a recovery after a crash. */
const readTimeoutMs = 5_000;
