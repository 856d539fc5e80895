import { sql } from "drizzle-orm";
import type pg from "pg";
import { unreachable } from "./postgres-connection.ts";
import { bare, statement, value } from "./postgres-statement.ts";
import { leases } from "./schema-postgres.ts";
import type { LeaseAnswer, LeaseClaim } from "./rows/leases.ts";

/**
 * Takes or renews a lease. Not by way of the log's writer: a renewal must not wait behind another replica's commit.
 * @throws {StoreError} store_unavailable
 */
export async function acquireLease(pool: pg.Pool, { name, holder, ttlMs }: LeaseClaim): Promise<LeaseAnswer> {
  return durably(pool, async (client) => {
    const { rows: [taken] } = await client.query<{ token: string }>(acquire(name, holder, ttlMs, ttlMs));
    if (taken !== undefined) return { held: true, token: Number(taken.token) };
    const { rows: [other] } = await client.query<{ holder: string }>(holderOf(name));
    return { held: false, holder: other?.holder ?? "" };
  });
}

/** @throws {StoreError} store_unavailable */
export async function releaseLease(pool: pg.Pool, { name, holder }: Pick<LeaseClaim, "name" | "holder">): Promise<void> {
  await durably(pool, (client) => client.query(release(name, holder)));
}

/** Whatever the database's default is: a token that a crash takes back would be given to a second holder. */
async function durably<Result>(pool: pg.Pool, run: (client: pg.PoolClient) => Promise<Result>): Promise<Result> {
  const client = await pool.connect().catch((cause) => { throw unreachable(cause); });
  try {
    await client.query("begin isolation level read committed; set local synchronous_commit to on");
    const result = await run(client);
    await client.query("commit");
    client.release();
    return result;
  } catch (cause) {
    // Not given back to the pool: its transaction may be open.
    client.release(true);
    throw unreachable(cause);
  }
}

const nowMs = sql`(extract(epoch from clock_timestamp()) * 1000)::bigint`;
/** What a lease is held to is read once its row is locked: whoever had the lock before may have taken it meanwhile, for longer than we would. */
const acquire = statement("acquire-lease", sql`
  insert into ${leases} (${bare(leases.name)}, ${bare(leases.holder)}, ${bare(leases.token)}, ${bare(leases.expiresAtMs)})
  select claim.name, claim.holder, 1, ${nowMs} + claim.ttl
  from (values (${value("name")}::text, ${value("holder")}::text, ${value("ttlMs")}::bigint)) as claim (name, holder, ttl)
  on conflict (name) do update set
    holder = excluded.holder, expires_at_ms = excluded.expires_at_ms,
    token = ${leases.token} + (${leases.holder} <> excluded.holder)::int
  where ${leases.holder} = excluded.holder or ${leases.expiresAtMs} <= ${nowMs} or ${leases.expiresAtMs} > ${nowMs} + ${value("ttlMs")}::bigint
  returning ${leases.token}`);
const holderOf = statement("lease-holder", sql`select ${leases.holder} from ${leases} where ${leases.name} = ${value("name")}`);
const release = statement("release-lease", sql`
  update ${leases} set ${bare(leases.holder)} = '', ${bare(leases.expiresAtMs)} = 0
  where ${leases.name} = ${value("name")} and ${leases.holder} = ${value("holder")}`);
