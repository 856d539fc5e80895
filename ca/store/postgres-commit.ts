import { desc, sql } from "drizzle-orm";
import pg from "pg";
import type { CheckpointSigner } from "../audit/checkpoint.ts";
import { failGroup, type Outcome, type Refused } from "./outcome.ts";
import { planGroup } from "./plan-group.ts";
import type { Plan } from "./plan.ts";
import { emptyHead, readHead, type SealedHead } from "./head.ts";
import { ConnectionLost, exchange, type Connection } from "./postgres-connection.ts";
import { factQueries } from "./postgres-facts.ts";
import type { PostgresLink } from "./postgres-link.ts";
import { statement, value, type Query } from "./postgres-statement.ts";
import { writeQueries } from "./postgres-writes.ts";
import { describe } from "./reads.ts";
import { auditCheckpoints, auditEntries, logHead } from "./schema-postgres.ts";
import { requireSignedBy } from "./sealer.ts";
import type { Act } from "./acts.ts";
import { StoreError } from "./errors.ts";
import type { CheckpointRow, EntryRow } from "./rows/log.ts";

/** The one connection of this process that writes the log; one call at a time. */
export interface PostgresCommit {
  /** Never rejects: what fails as a whole is the outcome of each act. */
  commitGroup(acts: readonly Act[], signer: CheckpointSigner, gather: () => readonly Act[]): Promise<readonly Outcome[]>;
  close(): Promise<void>;
}

/**
 * Connects when there is something to commit, and again after the connection was lost.
 * @param open  the connection to write by
 */
export function postgresCommit(link: Pick<PostgresLink, "require" | "suspect">, open: () => Promise<Connection>, onLocked: (lockedMs: number) => void = () => {}): PostgresCommit {
  let connection: Connection | undefined;
  let last: SealedHead | undefined;
  /** The last entry of it. */
  let lastEntry: EntryRow | undefined;
  /** Another replica wrote since we last did: we will wait for the lock, and more acts will have come by then. */
  let othersWrite = false;

  async function connect(): Promise<Connection> {
    if (connection?.alive() === true) return connection;
    link.require();
    return connection = await open();
  }

  async function disconnect(): Promise<void> {
    await connection?.close();
    connection = undefined;
  }

  /**
   * One try at one transaction: two round trips, the facts and the writes. Where other replicas write too, first one for the lock
   * alone: the group is closed once we have it, so that three replicas make groups as large as one.
   */
  async function commitOnce(group: Group, signer: CheckpointSigner): Promise<readonly Outcome[]> {
    const { client } = await connect();
    const early = othersWrite ? undefined : factQueries(group.acts);
    const [, headAnswer, checkpointAnswer, ...earlyAnswers] = await exchange(client, [begin, lockHead(), newestCheckpoint(), ...early?.queries ?? []]);
    const lockedAtMs = performance.now();
    if (early === undefined) group.acts = group.gather();
    const facts = early ?? factQueries(group.acts);
    const ownLeaf = lastEntry === undefined ? [] : [leafAt(lastEntry.index)];
    const factAnswers = early === undefined ? await exchange(client, [...facts.queries, ...ownLeaf]) : earlyAnswers;
    const newest = toRow<CheckpointRow>(checkpointAnswer);
    const head = readHead(toRow(headAnswer) ?? emptyHead, newest, last);
    othersWrite = last !== undefined && head !== last.range;
    if (othersWrite && lastEntry !== undefined) requireContinued(lastEntry, early === undefined ? factAnswers.at(-1) : (await exchange(client, ownLeaf))[0]);
    const plan = planGroup(group.acts, facts.read(factAnswers), head, signer);
    if (plan.sealed === undefined) {
      await exchange(client, [rollback]);
      return plan.outcomes;
    }
    if (head !== last?.range) requireSignedBy(signer, head, newest);
    // If we die before COMMIT nothing of the group is there; after it, all of it is.
    const answers = await exchange(client, writeQueries(plan.writes, plan.sealed), commit).catch((error) => settle(plan, error));
    // Postgres answers the COMMIT of a failed transaction with ROLLBACK.
    if (answers !== undefined && answers.at(-1)?.command !== "COMMIT") throw new Error("Postgres rolled the transaction back and did not say why");
    [last, lastEntry] = [plan.sealed, plan.writes.entries.at(-1)];
    onLocked(performance.now() - lockedAtMs);
    return plan.outcomes;
  }

  /**
   * Finds out whether a group landed whose connection broke in COMMIT: once we hold the writer lock its transaction is over, and
   * the checkpoint it signed is there or not.
   * @throws what there was, when it did not land; outcomeKnown false when nobody can tell
   */
  async function settle({ sealed }: Plan, error: unknown): Promise<undefined> {
    if (!(error instanceof ConnectionLost)) throw error;
    const { size, note } = sealed!.checkpoint;
    try {
      await disconnect();
      const { client } = await connect();
      const [, , answer] = await exchange(client, [begin, lockHead(), checkpointAt(size)]);
      await exchange(client, [rollback]);
      if (toRow<{ size: number; note: string }>(answer)?.note === note) return;
    } catch (cause) {
      throw new StoreError("store_unavailable", `The connection to Postgres broke during COMMIT and there is no new one (${describe(cause)}): the act may have landed. Look whether it did before trying again.`, { cause, outcomeKnown: false });
    }
    throw error;
  }

  async function commitGroup(first: readonly Act[], signer: CheckpointSigner, gather: () => readonly Act[]): Promise<readonly Outcome[]> {
    try {
      return await tryGroup({ acts: first, gather }, signer);
    } finally {
      giveBack();
    }
  }

  function giveBack(): void {
    if (connection?.giveBack === undefined) return;
    connection.giveBack();
    connection = undefined;
  }

  async function tryGroup(group: Group, signer: CheckpointSigner): Promise<readonly Outcome[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await commitOnce(group, signer);
      } catch (error) {
        await recover(error);
        if (attempt < maxAttempts && isTransient(error)) continue;
        // A row that the facts allowed and the database did not: one act is to blame, and only it shall fail.
        if (group.acts.length > 1 && isActsFault(error)) return oneByOne(group.acts, signer);
        return failGroup(group.acts, describeFailure(error));
      }
    }
  }

  async function oneByOne(acts: readonly Act[], signer: CheckpointSigner): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = [];
    for (const act of acts) outcomes.push(...await tryGroup({ acts: [act], gather: () => [act] }, signer));
    return outcomes;
  }

  /** Leaves no transaction open, and no connection that cannot be used. */
  async function recover(error: unknown): Promise<void> {
    if (error instanceof ConnectionLost || codeOf(error) === readOnlyTransaction) {
      link.suspect();
      return disconnect();
    }
    if (connection?.alive() === true) await exchange(connection.client, [rollback]).catch(disconnect);
  }

  return { commitGroup, close: disconnect };
}

interface Group {
  acts: readonly Act[];
  /** The same acts, and behind them what has come since. */
  readonly gather: () => readonly Act[];
}

/** Worth another try at once: the others won, or the server that answered is not the one that writes (any more). */
function isTransient(error: unknown): boolean {
  const code = codeOf(error);
  return error instanceof ConnectionLost || code === serializationFailure || code === deadlockDetected || code === readOnlyTransaction;
}

/** Whether a failure is due to what was to be written, not to the database's state. */
function isActsFault(error: unknown): boolean {
  if (error instanceof StoreError || error instanceof ConnectionLost) return false;
  const code = codeOf(error);
  return code === undefined || /^(22|23|54)|^P0001$/.test(code);
}

function describeFailure(error: unknown): Refused {
  if (error instanceof StoreError) return error;
  const reason = `${codeOf(error) ?? "no code"}: ${describe(error)}`;
  if (isActsFault(error)) {
    return { code: "store_unavailable", message: `Postgres does not take this act (${reason}). Nothing was written; trying again will not help, this is a bug.` };
  }
  if (error instanceof ConnectionLost) {
    return { code: "store_unavailable", message: `The connection to Postgres broke ${maxAttempts} times (${describe(error)}). Nothing was written; try again.` };
  }
  if (codeOf(error) === lockNotAvailable) {
    return { code: "store_unavailable", message: "Another replica has held the log's writer lock for too long. Nothing was written; try again." };
  }
  return { code: "store_unavailable", message: `Postgres cannot write (${reason}). Nothing was written; look at the server.` };
}

function codeOf(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}

/**
 * Refuses a log that others went on with from before what this process sealed: of a database that lost acts when another host took over, or
 * of two that both take writes.
 * @throws {StoreError} log_inconsistent
 */
function requireContinued({ index, leafHash }: EntryRow, answer: pg.QueryResult | undefined): void {
  const found = (answer?.rows[0] as { leaf_hash: Buffer } | undefined)?.leaf_hash;
  if (found !== undefined && Buffer.compare(found, leafHash) === 0) return;
  throw new StoreError("log_inconsistent", `The audit log is not the one that this process wrote to: its entry ${index} is another one. The database went back, or is another than before, and somebody else wrote to it since. Nothing is written by this process; look which host is the primary, run \`countersign audit verify\`, and start this process again on the right one.`);
}

/** The only row of an answer; 64-bit integers, which the driver gives as text, as numbers. */
function toRow<Row extends { readonly size: number }>(answer: pg.QueryResult | undefined): Row | undefined {
  const row = answer?.rows[0] as { size: string } | undefined;
  return row && { ...row, size: Number(row.size) } as Row;
}

/** Whatever the database's default is: the statements after the lock must see what was committed before it. */
const begin: Query = { text: "begin isolation level read committed" };
const commit: Query = { text: "commit" };
const rollback: Query = { text: "rollback" };
/** The writer lock of all replicas. */
const lockHead = statement("lock-head", sql`select ${logHead.size}, ${logHead.hashes} from ${logHead} for update`);
const newestCheckpoint = statement("newest-checkpoint", sql`
  select ${auditCheckpoints.size}, ${auditCheckpoints.note} from ${auditCheckpoints} order by ${desc(auditCheckpoints.size)} limit 1`);
const checkpointAt = statement("checkpoint-at", sql`
  select ${auditCheckpoints.size}, ${auditCheckpoints.note} from ${auditCheckpoints} where ${auditCheckpoints.size} = ${value("size")}`);
const leafAt = statement("leaf-at", sql`select ${auditEntries.leafHash} from ${auditEntries} where ${auditEntries.index} = ${value("index")}`);

/** SQLSTATE. @source PostgreSQL documentation, appendix A */
const serializationFailure = "40001";
const deadlockDetected = "40P01";
const lockNotAvailable = "55P03";
/** After a failover a connection may be left on a server that only reads. (spire#4565) */
const readOnlyTransaction = "25006";
const maxAttempts = 4;
