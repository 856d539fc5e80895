import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import type { CheckpointSigner } from "../audit/checkpoint.ts";
import type { CompactRange } from "../audit/merkle.ts";
import { writeQueue } from "./acknowledgements.ts";
import { failGroup } from "./outcome.ts";
import { groupCommit, storeClosed } from "./group-commit.ts";
import { emptyHead, readHead } from "./head.ts";
import { migrationsOf } from "./migrations.ts";
import { notedUse } from "./noted-use.ts";
import { postgresCommit } from "./postgres-commit.ts";
import { beginSession, borrowWriter, connectWriter, unreachable } from "./postgres-connection.ts";
import { writableFirst } from "./postgres-hosts.ts";
import { acquireLease, releaseLease } from "./postgres-lease.ts";
import { postgresLink } from "./postgres-link.ts";
import { isUpToDate, migratePostgres, tablesMissing } from "./postgres-migrate.ts";
import { postgresReads } from "./postgres-reads.ts";
import { acknowledge, claimReport, dropReports, insertAcme, putReports, replaceReport, spendRequest, touchToken, updateAcme } from "./postgres-writes.ts";
import type { Query } from "./postgres-statement.ts";
import { describe, guardReads } from "./reads.ts";
import { auditCheckpoints, logHead } from "./schema-postgres.ts";
import { locked, signerFor } from "./sealer.ts";
import { StoreError } from "./errors.ts";
import type { Acknowledgement } from "./rows/holders.ts";
import type { CheckpointRow } from "./rows/log.ts";
import type { ReportRow } from "./rows/reports.ts";
import type { Store } from "./store.ts";

export interface PostgresOptions {
  readonly url: string;
  /** For looking only: nothing is migrated or locked, and `commit` is refused. */
  readonly readOnly?: boolean;
  /** False: the tables must be there already, of this version. */
  readonly migrate?: boolean;
  /** For a process that may be frozen between requests: nothing looks at the database but `ping`, before each, and there is one connection for all. */
  readonly onDemand?: boolean;
  readonly onLocked?: ((lockedMs: number) => void) | undefined;
  /** Default: `migrations/postgres` of the repository. */
  readonly migrationsFolder?: string;
}

/**
 * The store that any number of replicas share: one connection writes, in groups, a pool of others reads. On demand a single one is had in turn.
 * @throws {StoreError} store_unavailable | log_inconsistent
 */
export async function openPostgres({ url, readOnly = false, migrate = true, onDemand = false, migrationsFolder = migrationsOf("postgres"), onLocked }: PostgresOptions): Promise<Store> {
  const hosts = await writableFirst(url);
  const link = postgresLink(hosts, { readOnly, ...(onDemand && { borrow: () => pool.connect() }) });
  const pool = new pg.Pool({ ...poolOptions(link.options()), allowExitOnIdle: true });
  link.onMove(() => Object.assign(pool.options, poolOptions(link.options())));
  // Without a listener the end of an idle connection would end the process.
  pool.on("error", () => link.suspect());
  // The pool listens only to those that nobody uses: one that breaks in use would end it, too.
  pool.on("connect", (client) => client.on("error", () => link.suspect()));
  const writer = postgresCommit(link, () => onDemand ? borrowWriter(pool) : connectWriter(link.options()), onLocked);
  let signer: CheckpointSigner | undefined;
  let opened: SealedHead | undefined;
  const group = groupCommit(async (acts, gather) => signer === undefined ? failGroup(acts, readOnly ? forReadingOnly : locked) : writer.commitGroup(acts, signer, gather));

  const acknowledgements = writeQueue<Acknowledgement>("acknowledgements", (rows) => write("acknowledgements", [
    acknowledge(rows.map(({ serialNumber }) => serialNumber), rows.map(({ sequence }) => sequence)),
  ]));
  const reports = writeQueue<ReportRow>("reports", (rows) => write("reports", putReports(rows)));

  function poolOptions(options: pg.ClientConfig): pg.PoolConfig {
    if (!onDemand) return { ...options, max: maxReaders, ...(!readOnly && { onConnect: beginSession }) };
    // Whose turn it is not waits for those before, each of which has its own limits, and not for a new connection.
    const { connectionTimeoutMillis, ...rest } = options;
    const Client = function (given: pg.ClientConfig) {
      return new pg.Client({ ...given, connectionTimeoutMillis });
    } as unknown as typeof pg.Client;
    return { ...rest, Client, max: 1, pipeline: true, idleTimeoutMillis: 0, onConnect: greet } as pg.PoolConfig;
  }

  async function greet(client: pg.ClientBase): Promise<void> {
    const askedAtMs = performance.now();
    link.greeted(askedAtMs, await beginSession(client));
  }

  async function write(what: string, queries: readonly Query[]): Promise<void> {
    open();
    if (readOnly) throw new StoreError(forReadingOnly.code, forReadingOnly.message);
    for (const query of queries) {
      await pool.query(query).catch((cause) => {
        link.suspect();
        throw new StoreError("store_unavailable", `Postgres did not take ${what} (${describe(cause)}). Try again.`, { cause });
      });
    }
  }

  function open(): void {
    if (pool.ended || pool.ending) throw storeClosed();
    link.require();
  }

  const store: Store = {
    kind: "postgres",
    ...guardReads(postgresReads(pool), open, link.suspect),
    async unlock(sealer) {
      if (readOnly) throw new StoreError(forReadingOnly.code, forReadingOnly.message);
      // The first time as it was when the store was opened: each commit looks whether the newest is by this key.
      const { head, newest } = opened ?? await readSealedHead(pool);
      opened = undefined;
      signer = signerFor(sealer, head, newest);
    },
    commit: (act) => group.commit(act),
    touchToken: notedUse(async (id, usedAtMs) => {
      open();
      await pool.query(touchToken(usedAtMs, id));
    }),
    acquireLease: async (claim) => {
      open();
      return acquireLease(pool, claim);
    },
    releaseLease: async (lease) => {
      open();
      await releaseLease(pool, lease);
    },
    acknowledge: acknowledgements.add,
    async spendRequest({ spiffeId, nonce, untilMs }, nowMs) {
      open();
      if (readOnly) throw new StoreError(forReadingOnly.code, forReadingOnly.message);
      const { rowCount } = await pool.query(spendRequest(nowMs, spiffeId, nonce, untilMs)).catch((cause) => {
        link.suspect();
        throw unreachable(cause);
      });
      return rowCount === 1;
    },
    async putAcmeRecord({ id, version, body, untilMs }, nowMs) {
      open();
      if (readOnly) throw new StoreError(forReadingOnly.code, forReadingOnly.message);
      const { rowCount } = await pool.query(version === 0 ? insertAcme(nowMs, id, body, untilMs) : updateAcme(body, untilMs, id, version)).catch((cause) => {
        link.suspect();
        throw unreachable(cause);
      });
      return rowCount === 1;
    },
    report: reports.add,
    dropReports: (keys) => write("reports", [dropReports(keys.map(({ kind }) => kind), keys.map(({ name }) => name), keys.map(({ part }) => part))]),
    async swapReport({ kind, name, part, body, reportedAtMs, expiresAtMs }, expected) {
      open();
      if (readOnly) throw new StoreError(forReadingOnly.code, forReadingOnly.message);
      const query = expected === undefined
        ? claimReport(kind, name, part, body, reportedAtMs, expiresAtMs)
        : replaceReport(body, reportedAtMs, expiresAtMs, kind, name, part, expected);
      const { rowCount } = await pool.query(query).catch((cause) => {
        link.suspect();
        throw unreachable(cause);
      });
      return rowCount === 1;
    },
    databaseTimeMs: link.databaseTimeMs,
    async ping() {
      if (onDemand) return link.awake();
      open();
      await pool.query("select 1").catch((cause) => {
        link.suspect();
        throw unreachable(cause);
      });
    },
    async close() {
      await Promise.all([group.close(), acknowledgements.close(), reports.close()]);
      await link.close();
      await writer.close();
      if (!pool.ending) await pool.end();
    },
  };
  try {
    if (readOnly) await store.ping();
    else {
      if (!await isUpToDate(pool, migrationsFolder)) {
        if (!migrate) throw tablesMissing();
        await migratePostgres(hosts[0], migrationsFolder);
      }
      opened = await readSealedHead(pool);
    }
  } catch (error) {
    // What the link saw first is why: the connection that asked here was cut for it, and knows no more than that.
    const why = link.lost() ?? error;
    await store.close();
    throw why;
  }
  return store;
}

/** The head and the newest checkpoint, as one statement sees them: another replica may commit between two. */
async function readSealedHead(pool: pg.Pool): Promise<SealedHead> {
  const [row] = await drizzle(pool).select({ head: logHead, newest: auditCheckpoints }).from(logHead)
    .leftJoin(auditCheckpoints, sql`${auditCheckpoints.size} = (select max(size) from ${auditCheckpoints})`)
    .catch((cause) => { throw new StoreError("store_unavailable", `The log's head cannot be read from Postgres (${describe(cause)}).`, { cause }); });
  const newest = row?.newest ?? undefined;
  return { head: readHead(row?.head ?? emptyHead, newest), newest };
}

interface SealedHead {
  readonly head: CompactRange;
  readonly newest: CheckpointRow | undefined;
}

const forReadingOnly = { code: "store_unavailable", message: "This store was opened for reading only." } as const;
/** A request reads one or two rows; more connections than this only wait for each other inside Postgres. */
const maxReaders = 8;
