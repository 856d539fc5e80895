import Database from "better-sqlite3";
import type { CheckpointSigner } from "../audit/checkpoint.ts";
import type { CompactRange } from "../audit/merkle.ts";
import { failGroup, type Outcome, type Refused } from "./outcome.ts";
import { planGroup } from "./plan-group.ts";
import { emptyHead, readHead, type SealedHead } from "./head.ts";
import { locked, requireSignedBy, signerFor } from "./sealer.ts";
import type { SqliteSql } from "./sqlite-sql.ts";
import { sqliteStatements } from "./sqlite-statements.ts";
import type { Act } from "./acts.ts";
import { StoreError } from "./errors.ts";
import type { AcmeRecord } from "./rows/acme-records.ts";
import type { Acknowledgement } from "./rows/holders.ts";
import type { LeaseAnswer, LeaseClaim } from "./rows/leases.ts";
import type { CheckpointRow, LogSealer } from "./rows/log.ts";
import type { ReportKey, ReportRow } from "./rows/reports.ts";
import type { SpentRequest } from "./rows/spent-requests.ts";

/** The one connection of this process that writes. Synchronous: it lives in a thread of its own (`sqlite-writer.ts`). */
export interface SqliteCommit {
  /** @throws {StoreError} log_inconsistent */
  unlock(sealer: LogSealer): void;
  /** Never throws: what fails as a whole is the outcome of each act. */
  commitGroup(acts: readonly Act[]): readonly Outcome[];
  /** How long commits have held the writer lock since this was last asked. */
  takeLockedMs(): number;
  touchToken(id: string, usedAtMs: number): void;
  /** @throws {StoreError} store_unavailable */
  acquireLease(claim: LeaseClaim): LeaseAnswer;
  /** @throws {StoreError} store_unavailable */
  releaseLease(lease: Pick<LeaseClaim, "name" | "holder">): void;
  /** In one transaction of its own. @throws {StoreError} store_unavailable */
  acknowledge(group: readonly Acknowledgement[]): void;
  /** In one transaction of its own. @throws {StoreError} store_unavailable */
  spendRequest(request: SpentRequest, nowMs: number): boolean;
  swapReport(row: ReportRow, expected: string | undefined): boolean;
  /** In one transaction of its own. @throws {StoreError} store_unavailable */
  putAcmeRecord(record: AcmeRecord, nowMs: number): boolean;
  /** In one transaction of its own. @throws {StoreError} store_unavailable */
  report(rows: readonly ReportRow[], dropped: readonly ReportKey[]): void;
  /** Moves what was committed from the write-ahead log into the database, if there is enough of it to be worth a flush. */
  tidy(): void;
  close(): void;
}

/**
 * @param path  of a database that is already migrated
 * @param sql   of `sqliteSql`
 */
export function sqliteCommit(path: string, sql: SqliteSql): SqliteCommit {
  const database = new Database(path, { fileMustExist: true, timeout: lockTimeoutMs });
  database.pragma("journal_mode = WAL");
  // NORMAL may lose the last commits when the power goes: only FULL flushes each one. (SQLite documentation, PRAGMA synchronous)
  database.pragma("synchronous = FULL");
  database.pragma(`cache_size = -${pageCacheKb}`);
  // We move pages ourselves, between groups: the answer to a group does not wait for it.
  database.pragma("wal_autocheckpoint = 0");
  const statements = sqliteStatements(database, sql);
  // IMMEDIATE takes the writer lock at once: a transaction that has read first cannot get it later if another process has
  // written meanwhile, and no timeout helps. (better-sqlite3#1067)
  const begin = database.prepare("begin immediate");
  const commit = database.prepare("commit");
  let signer: CheckpointSigner | undefined;
  let last: SealedHead | undefined;
  let actsInLog = 0;
  let lockedMs = 0;

  function loadHead(): LoadedHead {
    const newest = statements.newestCheckpoint();
    return { range: readHead(statements.readHead() ?? emptyHead, newest, last), newest };
  }

  function commitOnce(acts: readonly Act[], by: CheckpointSigner): readonly Outcome[] {
    begin.run();
    const lockedAtMs = performance.now();
    const { range, newest } = loadHead();
    const { outcomes, writes, sealed } = planGroup(acts, statements.facts, range, by);
    if (sealed === undefined) {
      database.exec("rollback");
      return outcomes;
    }
    if (range !== last?.range) requireSignedBy(by, range, newest);
    statements.write(writes, sealed);
    // If we die before this line nothing of the group is there; after it, all of it is.
    commit.run();
    lockedMs += performance.now() - lockedAtMs;
    last = sealed;
    actsInLog += acts.length;
    return outcomes;
  }

  function commitGroup(acts: readonly Act[]): readonly Outcome[] {
    if (signer === undefined) return failGroup(acts, locked);
    try {
      return commitOnce(acts, signer);
    } catch (error) {
      const failure = describeFailure(error);
      if (database.inTransaction) database.exec("rollback");
      // A row that the facts allowed and the database did not: one act is to blame, and only it shall fail.
      if (acts.length > 1 && isActsFault(error)) return acts.flatMap((act) => commitGroup([act]));
      return failGroup(acts, failure);
    }
  }

  return {
    unlock(sealer) {
      // In one transaction: another process may commit between the two reads.
      const { range, newest } = database.transaction(loadHead)();
      signer = signerFor(sealer, range, newest);
    },
    commitGroup,
    takeLockedMs() {
      const taken = lockedMs;
      lockedMs = 0;
      return taken;
    },
    touchToken: (id, usedAtMs) => statements.touchToken(id, usedAtMs),
    // The clock is read once the lock is had: whoever had it before may have taken the lease meanwhile, for longer than we would.
    acquireLease: (claim) => coded(() => database.transaction(() => statements.acquireLease(claim, Date.now())).immediate()),
    releaseLease: (lease) => coded(() => statements.releaseLease(lease)),
    acknowledge(group) {
      coded(() => database.transaction(() => group.forEach(statements.acknowledge)).immediate());
      actsInLog += group.length;
    },
    spendRequest: (request, nowMs) => coded(() => database.transaction(() => statements.spendRequest(request, nowMs)).immediate()),
    putAcmeRecord: (record, nowMs) => coded(() => database.transaction(() => statements.putAcmeRecord(record, nowMs)).immediate()),
    swapReport: (row, expected) => coded(() => statements.swapReport(row, expected)),
    report(rows, dropped) {
      coded(() => database.transaction(() => statements.report(rows, dropped)).immediate());
      actsInLog += rows.length;
    },
    tidy() {
      if (actsInLog < actsBeforeTidy) return;
      actsInLog = 0;
      try {
        database.pragma("wal_checkpoint(PASSIVE)");
      } catch {
        // Most likely the disk is full. Nothing is lost: the pages stay in the write-ahead log, and the next commit says what is wrong.
      }
    },
    close() {
      database.close();
    },
  };
}

interface LoadedHead {
  readonly range: CompactRange;
  readonly newest: CheckpointRow | undefined;
}

function coded<Result>(run: () => Result): Result {
  try {
    return run();
  } catch (error) {
    const { code, message, outcomeKnown = true } = describeFailure(error);
    throw new StoreError(code, message, { cause: error, outcomeKnown });
  }
}

function describeFailure(error: unknown): Refused {
  if (error instanceof StoreError) return error;
  const code = sqliteCode(error);
  if (code?.startsWith("SQLITE_BUSY")) {
    return { code: "store_unavailable", message: `Another process has held the database's writer lock for ${lockTimeoutMs / 1000} s. Nothing was written; try again.` };
  }
  const reason = code === undefined ? String(error) : `${code}: ${(error as Error).message}`;
  return isActsFault(error)
    ? { code: "store_unavailable", message: `SQLite does not take this act (${reason}). Nothing was written; trying again will not help, this is a bug.` }
    : {
        code: "store_unavailable",
        message: `SQLite cannot write (${reason}). Look at the disk's space and health and at the file's permissions.`,
        // When a flush fails the frames may or may not have reached the disk.
        outcomeKnown: !code?.startsWith("SQLITE_IOERR"),
      };
}

/** Whether a failure is due to what was to be written, not to the database's state. */
function isActsFault(error: unknown): boolean {
  if (error instanceof StoreError) return false;
  const code = sqliteCode(error);
  return code === undefined || /^SQLITE_(CONSTRAINT|TOOBIG|MISMATCH)/.test(code);
}

function sqliteCode(error: unknown): string | undefined {
  return error instanceof Database.SqliteError ? error.code : undefined;
}

/** How long to wait for another process's commit; ours take milliseconds. */
const lockTimeoutMs = 5_000;
/**
 * Larger costs more than it saves: SQLite goes through the whole cache at the end of each transaction that split an index's page, as
 * random keys do. Of 64 at a time, each certificate took 2 us more with 8 MB than with 3, and 14 more with 64 MB.
 */
const pageCacheKb = 4 * 1024;
/**
 * Some 60 MB of write-ahead log at three random index pages for each certificate. A page written often is moved once: with 2500
 * each took 3 us more at 60 000 certificates and 9 us more at 200 000.
 */
const actsBeforeTidy = 5_000;
