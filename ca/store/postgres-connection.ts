import pg from "pg";
import { describe } from "./reads.ts";
import type { Query } from "./postgres-statement.ts";
import { StoreError } from "./errors.ts";

/**
 * How the CA connects to Postgres. Each connection has limits of its own, set by the server: a lock, a statement or a transaction that
 * somebody forgot ends by itself.
 * @throws {StoreError} store_unavailable for a URL that is none
 */
export function connectionOptions(url: string): pg.ClientConfig {
  requireUrl(url);
  return {
    connectionString: url,
    application_name: "countersign",
    connectionTimeoutMillis: connectTimeoutMs,
    lock_timeout: lockTimeoutMs,
    statement_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
    // The server's limits do not help when the network swallows its answer.
    query_timeout: queryTimeoutMs,
    keepAlive: true,
  };
}

/** The driver's own error names nothing, and what it holds may be a password. */
function requireUrl(connectionString: string): void {
  try {
    new pg.Client({ connectionString });
  } catch {
    throw new StoreError(
      "store_unavailable",
      "The store's URL cannot be read. Write postgres://user@host:5432/database, with characters such as @ and / of a password as %40 and %2F; or several " +
        "hosts, one:5432,two:5432, of which the first that takes writes is used.",
    );
  }
}

/** A connection that sends a query without waiting for the answer to the one before. */
export interface Connection {
  readonly client: pg.ClientBase;
  alive(): boolean;
  close(): Promise<void>;
  /** Gives it back to those with whom its user takes turns; absent where it is its user's alone. */
  giveBack?(): void;
}

/** @throws {StoreError} store_unavailable */
export async function connectWriter(options: pg.ClientConfig): Promise<Connection> {
  const client = new pg.Client({ ...options, pipeline: true });
  let alive = true;
  const close = async () => {
    alive = false;
    await client.end().catch(() => undefined);
  };
  // Without a listener the end of an idle connection would end the process.
  client.on("error", () => (alive = false));
  client.on("end", () => (alive = false));
  try {
    await client.connect();
    await beginSession(client);
    return { client, alive: () => alive, close };
  } catch (cause) {
    await close();
    throw unreachable(cause);
  }
}

/** The pool's connection for a turn. @throws {StoreError} store_unavailable */
export async function borrowWriter(pool: pg.Pool): Promise<Connection> {
  const client = await pool.connect().catch((cause) => { throw unreachable(cause); });
  let alive = true;
  const onEnd = () => void (alive = false);
  client.on("end", onEnd);
  const release = (broken: boolean) => {
    client.off("end", onEnd);
    client.release(broken);
  };
  return {
    client, alive: () => alive,
    close: async () => release(true),
    giveBack: () => release(!alive),
  };
}

/** The connection broke before the answer came. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

/**
 * Sends queries in one round trip and waits for every answer.
 * @param final  COMMIT: sent only if all the others were
 * @throws {ConnectionLost} or the first error that Postgres answered
 */
export async function exchange(client: pg.ClientBase, queries: readonly Query[], final?: Query): Promise<readonly pg.QueryResult[]> {
  let unsent = false;
  const send = (query: Query) => new Promise<pg.QueryResult>((resolve, reject) => {
    client.query(query, (error: Error | null, result) => {
      if (!error) return resolve(result);
      unsent = true;
      reject(error);
    });
  });
  const answers = queries.map(send);
  // A value that the driver cannot encode fails at once, and its query is not sent: the rest must not be committed without it.
  if (final !== undefined && !unsent) answers.push(send(final));
  const settled = await Promise.allSettled(answers);
  const failure = settled.find((answer) => answer.status === "rejected");
  if (failure !== undefined) throw isLost(failure.reason) ? new ConnectionLost(describe(failure.reason), { cause: failure.reason }) : failure.reason;
  return settled.map((answer) => (answer as PromiseFulfilledResult<pg.QueryResult>).value);
}

function isLost(error: unknown): boolean {
  return !(error instanceof pg.DatabaseError) || isLastWord(error);
}

/** An answer with which the server hangs up. A query under way is given it before the connection is known to have ended. */
export function isLastWord(error: unknown): boolean {
  return error instanceof pg.DatabaseError && /^(08|57P0|25P0[34])/.test(error.code ?? "");
}

/** An answer of a server that is there and goes on, though not with this. */
export function isRefusal(error: unknown): boolean {
  return error instanceof pg.DatabaseError && !isLastWord(error);
}

/**
 * Refuses a server that only reads, as after a failover in which this one lost (libpq: target_session_attrs=read-write).
 * @param timeoutMs  default: the client's own
 * @returns the server's clock, in ms since the epoch
 * @throws {Error} what was found, for `unreachable`
 */
export async function requireWritable(client: pg.ClientBase, timeoutMs?: number): Promise<number> {
  return ask(client, `select ${stateOfServer}`, timeoutMs);
}

/**
 * The same, of a session that will write. An answer leaves after COMMIT, so COMMIT has to mean that it is on disk: every setting but `off`
 * does. Statements wait for each other rather than fail, and not without end, also where a pooler keeps what a client asks for at its start
 * to itself (PgBouncer: ignore_startup_parameters). None of this changes with the server's defaults, for as long as the session lasts.
 */
export async function beginSession(client: pg.ClientBase): Promise<number> {
  return ask(client, `select ${stateOfServer},
    set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), false), set_config('default_transaction_isolation', 'read committed', false),
    set_config('lock_timeout', '${lockTimeoutMs}', false), set_config('statement_timeout', '${statementTimeoutMs}', false),
    set_config('idle_in_transaction_session_timeout', '${idleInTransactionTimeoutMs}', false)`);
}

async function ask(client: pg.ClientBase, text: string, timeoutMs?: number): Promise<number> {
  const query = { text, ...(timeoutMs !== undefined && { query_timeout: timeoutMs }) };
  const { rows: [row] } = await client.query<{ read_only: string; now_ms: string }>(query);
  if (row?.read_only === "on") throw new Error("this server only reads: it is a standby, or was set to");
  return Number(row?.now_ms);
}

/** What is thrown when Postgres cannot be reached, or refuses what it was asked, and nothing was written. */
export function unreachable(cause: unknown): StoreError {
  const said = isRefusal(cause)
    ? `Postgres answers and refuses (${(cause as pg.DatabaseError).code}: ${describe(cause)}). Look at the user and the database in the store's URL, at what that user may do there, and at the server's limits.`
    : `Postgres cannot be reached (${describe(cause)}). Look whether it runs and whether the store's URL is right.`;
  return new StoreError("store_unavailable", said, { cause });
}

const stateOfServer = "current_setting('transaction_read_only') as read_only, (extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms";
const connectTimeoutMs = 3_000;
/** How long another replica's commit may take; ours take milliseconds. Longer than a replica that was stopped in one keeps the lock. */
const lockTimeoutMs = 5_000;
const statementTimeoutMs = 10_000;
const queryTimeoutMs = statementTimeoutMs + connectTimeoutMs;
/** Between two statements of a commit lies some 10 ms of our CPU. A replica stopped there holds up all the others for so long. */
const idleInTransactionTimeoutMs = 2_000;
