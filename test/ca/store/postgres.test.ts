import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { migrationsOf } from "../../../ca/store/migrations.ts";
import { openStore } from "../../../ca/store/open.ts";
import { connectionOptions, connectWriter, exchange } from "../../../ca/store/postgres-connection.ts";
import { migratePostgres } from "../../../ca/store/postgres-migrate.ts";
import type { Store } from "../../../ca/store/store.ts";
import { createDatabase } from "../../support/postgres.ts";
import { verifyStore } from "../../support/store-oracle.ts";
import { createToken, issue, newCertificate, newSealer, newToken, record, startMs } from "./acts.ts";
import { breakableLink, type BreakableLink } from "./breakable-link.ts";
import { describeStoreAuthorities } from "./contract-authorities.ts";
import { describeStoreDocuments } from "./contract-documents.ts";
import { describeStoreFeed } from "./contract-feed.ts";
import { describeStoreReports } from "./contract-reports.ts";
import { describeStore, type TestDatabase } from "./contract.ts";

describeStore("postgres", newPostgres);
describeStoreFeed("postgres", newPostgres);
describeStoreReports("postgres", newPostgres);
describeStoreDocuments("postgres", newPostgres);
describeStoreAuthorities("postgres", newPostgres);

test.each(["postgres://u:hunter2@one.example:5432,two.example:99999/ca", "postgres://u:hunt/er2@one.example:99999/ca", "postgres://[::1/hunter2"])(
  "a URL that cannot be read is refused in words, without the password: %s", async (url) => {
    const refused = (await openStore({ url }).catch((error: unknown) => error)) as Error;
    expect(refused).toMatchObject({ code: "store_unavailable", message: expect.stringContaining("several hosts") });
    expect(`${String(refused)}${JSON.stringify(refused)}${String(refused.cause)}`).not.toMatch(/hunt/);
  });

describe.each([false, true])("the Postgres store (on demand, with one connection for all: %s)", (onDemand) => {
  const { sealer, verifierKey } = newSealer();
  let database: Awaited<ReturnType<typeof newPostgres>>;
  let link: BreakableLink;
  let store: Store;

  beforeEach(async () => {
    database = await newPostgres();
    link = await breakableLink(database.url);
    store = await openStore({ url: link.url, sealer, onDemand });
    await store.commit(record("first"));
  });
  afterEach(async () => {
    await store.close();
    await link.close();
    await database.dispose();
  });

  /** The log holds these acts, each once, and is whole. */
  async function expectLogged(...codes: readonly string[]): Promise<void> {
    const bodies = await verifyStore(store, verifierKey);
    expect(bodies.map((body) => (JSON.parse(body) as { code: string }).code)).toEqual(["first", ...codes]);
  }

  if (!onDemand) test("a log that others went on with from before our last act is not written to: a host that took over without it, or two that take writes", async () => {
    await store.commit(record("second"));
    for (const sql of [
      "delete from audit_entries where idx > 0", "delete from audit_checkpoints where size > 1",
      "update log_head set size = 1, hashes = (select leaf_hash from audit_entries where idx = 0)",
    ]) await database.execute(sql);
    const other = await openStore({ url: database.url, sealer });
    for (const code of ["theirs", "theirs too"]) await other.commit(record(code));
    for (let time = 0; time < 2; time++) await expect(store.commit(record("no"))).rejects.toMatchObject({ code: "log_inconsistent", message: expect.stringContaining("entry 1 is another one") });
    expect(await other.commit(record("third"))).toEqual({ logIndex: 3 });
    await other.close();
    await expectLogged("theirs", "theirs too", "third");
  });

  test("a COMMIT that is lost on its way is done again, once", async () => {
    link.cutAtCommit("before");
    expect(await store.commit(record("second"))).toEqual({ logIndex: 1 });
    await expectLogged("second");
  });

  test("a COMMIT whose answer is lost is found to have landed", async () => {
    link.cutAtCommit("after");
    expect(await store.commit(record("second"))).toEqual({ logIndex: 1 });
    await expectLogged("second");
    await store.commit(record("third"));
    await expectLogged("second", "third");
  });

  if (!onDemand) test("a COMMIT whose answer is lost stays landed when another replica has committed since", async () => {
    const other = await openStore({ url: database.url, sealer });
    link.cutAtCommit("after");
    const [receipt] = await Promise.all([store.commit(record("second")), other.commit(record("other"))]);
    expect((await store.entries({ start: receipt.logIndex, limit: 1 }))[0]!.body).toContain("second");
    expect(await verifyStore(store, verifierKey)).toHaveLength(3);
    await other.close();
  });

  test.each(["before", "after"] as const)("when nobody can tell about a COMMIT (cut %s it landed), the outcome is unknown", async (when) => {
    link.cutAtCommit(when, true);
    await expect(store.commit(record("second"))).rejects.toMatchObject({ code: "store_unavailable", outcomeKnown: false });
    await expect(store.commit(record("third"))).rejects.toMatchObject({ code: "store_unavailable", outcomeKnown: true });
    await expect(store.ping()).rejects.toMatchObject({ code: "store_unavailable" });
    link.restore();
    await recovered();
    await store.commit(record("fourth"));
    await expectLogged(...(when === "after" ? ["second"] : []), "fourth");
  });

  test("a connection that breaks while a lease is asked for costs that question alone, not the process", async () => {
    const claim = { name: "work", holder: "one", ttlMs: 60_000 };
    link.cutAtBegin();
    await expect(store.acquireLease(claim)).rejects.toMatchObject({ code: "store_unavailable" });
    await expect.poll(() => store.acquireLease(claim).catch(({ code }: { code: string }) => code)).toMatchObject({ held: true });
  });

  test("a connection that breaks before COMMIT is replaced and the group done again", async () => {
    link.cutAtBegin();
    expect(await store.commit(record("second"))).toEqual({ logIndex: 1 });
    await expectLogged("second");
  });

  test("a server that is gone before COMMIT leaves no doubt: nothing was written", async () => {
    link.cutAtBegin(true);
    await expect(store.commit(record("second"))).rejects.toMatchObject({ code: "store_unavailable", outcomeKnown: true });
    link.restore();
    await recovered();
    await expectLogged();
  });

  if (!onDemand) test("a database that answers nothing is given up, then nobody waits for it, and it is found again when it is back", async () => {
    link.swallow();
    const [commit, read] = await Promise.allSettled([store.commit(record("second")), store.certificate("00")]);
    // Cut by the look, which waits for 3 s: long before a read gives up by itself.
    const unavailable = { reason: { code: "store_unavailable" } };
    expect([commit, read]).toMatchObject([unavailable, { reason: { ...unavailable.reason, message: expect.stringContaining("Connection terminated") } }]);
    const refused: string[] = [];
    const asked = [
      store.commit(record("third")), store.state(), store.ping(), store.acquireLease({ name: "a", holder: "b", ttlMs: 1 }),
      store.report({ kind: "edges", name: "a", part: "", body: "{}", reportedAtMs: startMs, expiresAtMs: startMs + 1000 }), store.acknowledge({ serialNumber: "00", sequence: 1 }),
    ];
    for (const each of asked) each.catch(({ code }: { code: string }) => refused.push(code));
    for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve));
    expect(refused).toEqual(asked.map(() => "store_unavailable"));
    link.restore();
    await recovered();
    await store.commit(record("fourth"));
    await expectLogged("fourth");
  });

  test("backends that an administrator terminates are replaced, writers and readers", async () => {
    await store.certificates({ limit: 1, nowMs: 0 });
    await terminateBackends();
    expect(await store.commit(record("second"))).toEqual({ logIndex: 1 });
    await expectLogged("second");
  });

  test("a backend that dies in COMMIT, once: the group is done again", async () => {
    await database.execute("create sequence deaths");
    await database.execute(`create function die() returns trigger language plpgsql as
      $$ begin if nextval('deaths') = 1 then perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); end if; return null; end $$`);
    await database.execute("create constraint trigger die after insert on audit_entries deferrable initially deferred for each row execute function die()");
    expect(await store.commit(record("second"))).toEqual({ logIndex: 1 });
    await expectLogged("second");
  });

  if (!onDemand) test.each(["40001", "40P01"])("a transaction that fails with %s is tried again, a bounded number of times", async (code) => {
    await database.execute("create sequence failures");
    await database.execute(`create function conflict() returns trigger language plpgsql as
      $$ begin if nextval('failures') < 3 then raise exception using errcode = '${code}'; end if; return null; end $$`);
    await database.execute("create trigger conflict after insert on audit_entries for each statement execute function conflict()");
    expect(await store.commit(record("second"))).toEqual({ logIndex: 1 });
    await database.execute("alter sequence failures restart minvalue -100 start -100");
    await expect(store.commit(record("third"))).rejects.toMatchObject({ code: "store_unavailable", outcomeKnown: true });
    await expectLogged("second");
  });

  test("a connection left on a server that only reads is replaced", async () => {
    await database.execute("alter database current_database set default_transaction_read_only = on");
    await terminateBackends();
    await expect(store.commit(record("refused"))).rejects.toMatchObject({ code: "store_unavailable", outcomeKnown: true });
    // The writer's session is one that only reads now; the next one is not.
    await database.execute("set transaction read write; alter database current_database reset default_transaction_read_only");
    await recovered();
    expect(await store.commit(record("second"))).toEqual({ logIndex: 1 });
    await expectLogged("second");
  });

  // With one connection for all, reads wait for the commit.
  if (!onDemand) test("another replica that holds the writer lock delays a commit and does not fail it", async () => {
    await database.execute("begin");
    await database.execute("select * from log_head for update");
    let landed = false;
    const commit = store.commit(record("second")).then(() => (landed = true));
    for (let round = 0; round < 20; round++) await store.checkpoint();
    expect(landed).toBe(false);
    await database.execute("rollback");
    await commit;
    await expectLogged("second");
  });

  if (!onDemand) test("where other replicas write too, what comes while one waits for the lock shares its commit", async () => {
    const other = await openStore({ url: database.url, sealer });
    await other.commit(record("other"));
    await store.commit(record("learns of it"));
    await other.close();
    await database.execute("begin");
    await database.execute("select * from log_head for update");
    const commits = [store.commit(record("a"))];
    const waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'countersign' and datname = current_database()";
    while ((await database.client.query(waiting)).rowCount === 0);
    commits.push(store.commit(record("b")), store.commit(record("c")));
    await database.execute("rollback");
    await Promise.all(commits);
    expect((await store.checkpoints({ after: 0, limit: 9 })).map(({ size }) => size)).toEqual([1, 2, 3, 6]);
    await expectLogged("other", "learns of it", "a", "b", "c");
  });

  if (!onDemand) test("what an act expects is checked after the writer lock is had: a token spent while it waited is spent", async () => {
    const token = newToken();
    await store.commit(createToken(token));
    await database.execute("begin");
    await database.execute("select * from log_head for update");
    await database.execute(`update tokens set version = 1 where id = '${token.id}'`);
    const commit = store.commit(issue(newCertificate(), { redeem: { tokenId: token.id, version: 0 } }));
    const waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'countersign' and datname = current_database()";
    while ((await database.client.query(waiting)).rowCount === 0);
    await database.execute("commit");
    await expect(commit).rejects.toMatchObject({ code: "token_already_redeemed" });
  });

  test("a lease that another took while this one was asked for is the other's, though this one's clock was read before", async () => {
    await database.execute("begin");
    await database.execute("insert into leases (name, holder, token, expires_at_ms) values ('work', 'other', 1, 0)");
    const answer = store.acquireLease({ name: "work", holder: "one", ttlMs: 60_000 });
    const waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'countersign' and datname = current_database()";
    while ((await database.client.query(waiting)).rowCount === 0);
    await database.execute("select pg_sleep(0.002)");
    await database.execute("update leases set expires_at_ms = (extract(epoch from clock_timestamp()) * 1000)::bigint + 60000");
    await database.execute("commit");
    expect(await answer).toEqual({ held: false, holder: "other" });
  });

  if (onDemand) test("whatever is done at once takes turns on one connection, which stays", async () => {
    const token = newToken();
    await store.commit(createToken(token));
    const reads = [store.certificates({ limit: 1, nowMs: 0 }), store.documents({ after: 0 }), store.token(token.id), store.checkpoint()];
    await Promise.all([...reads, store.commit(record("a")), store.acquireLease({ name: "work", holder: "one", ttlMs: 1000 }), store.ping(), store.commit(record("b")), ...reads]);
    const { rows } = await database.client.query("select from pg_stat_activity where application_name = 'countersign' and datname = current_database()");
    expect(rows).toHaveLength(1);
  });

  if (!onDemand) test("a lease is not taken over in the middle of a commit under it", async () => {
    const claim = { name: "authority", ttlMs: 60_000 };
    await store.acquireLease({ ...claim, holder: "a" });
    await database.execute("update leases set expires_at_ms = 0");
    await database.execute("begin");
    // Our commit holds the lease's row by then and waits here, for a row that it writes.
    await database.execute("insert into audit_checkpoints values (2, '')");
    const commit = store.commit({ ...record("second"), fence: { lease: "authority", token: 1 } });
    const waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'countersign' and datname = current_database()";
    const waiters = async (count: number) => { while (((await database.client.query(waiting)).rowCount ?? 0) < count); };
    await waiters(1);
    const takeover = store.acquireLease({ ...claim, holder: "b" });
    await waiters(2);
    await database.execute("rollback");
    await commit;
    expect(await takeover).toEqual({ held: true, token: 2 });
    await expectLogged("second");
  });

  test("each commit is durable, and no lock, statement or transaction of ours is without end, whatever the database's defaults", async () => {
    await database.execute("alter database current_database set synchronous_commit = off");
    await database.execute("alter database current_database set default_transaction_isolation = serializable");
    await terminateBackends();
    await database.execute("create table probe (name text, setting text, source text)");
    await database.execute(`create function probe() returns trigger language plpgsql as $$ begin
      insert into probe select name, setting, source from pg_settings
      where name in ('synchronous_commit', 'transaction_isolation', 'lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout');
      return null; end $$`);
    await database.execute("create trigger probe after update on log_head for each statement execute function probe()");
    await database.execute("create trigger probe after insert on reports for each statement execute function probe()");
    for (const write of [() => store.commit(record("second")), () => store.report({ kind: "edges", name: "a", part: "", body: "{}", reportedAtMs: startMs, expiresAtMs: startMs + 1000 })]) {
      await write();
      const { rows } = await database.client.query<{ name: string; setting: string; source: string }>("delete from probe returning *");
      const settings = Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
      expect(settings).toMatchObject({ synchronous_commit: "on", transaction_isolation: "read committed" });
      // What is the session's own stays, also when the server's defaults are read again.
      expect(rows.find(({ name }) => name === "synchronous_commit")?.source).toBe("session");
      for (const limit of ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"]) expect(Number(settings[limit])).toBeGreaterThan(0);
    }
  });

  if (!onDemand) test("a pooler that keeps to itself what a client asks for at its start leaves no lock, statement or transaction without end", async () => {
    const { lock_timeout, statement_timeout, idle_in_transaction_session_timeout, ...passedOn } = connectionOptions(database.url);
    const { client, close } = await connectWriter(passedOn);
    const { rows } = await client.query<{ name: string; setting: string }>("select name, setting from pg_settings where name in ('lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout')");
    await close();
    expect(Object.fromEntries(rows.map(({ name, setting }) => [name, Number(setting)]))).toEqual({ lock_timeout, statement_timeout, idle_in_transaction_session_timeout });
  });

  if (!onDemand) test("a value that cannot be sent keeps the rest from being committed", async () => {
    const { client, close } = await connectWriter(connectionOptions(database.url));
    const unsendable = { toPostgres: () => { throw new Error("no encoding"); } };
    await expect(exchange(client, [
      { text: "begin" }, { text: "create table half (done int)" }, { text: "select $1::text", values: [unsendable] },
    ], { text: "commit" })).rejects.toThrow("no encoding");
    await close();
    const { rows } = await database.client.query("select to_regclass('half') as half");
    expect(rows).toEqual([{ half: null }]);
  });

  if (!onDemand) test("replicas that start at once on a new database migrate it once", async () => {
    const url = await createDatabase();
    const stores = await Promise.all([1, 2, 3, 4].map(() => openStore({ url, sealer })));
    await Promise.all(stores.map((each) => each.commit(issue())));
    expect(await verifyStore(stores[0]!, verifierKey)).toHaveLength(4);
    await Promise.all(stores.map((each) => each.close()));
  });

  if (!onDemand) test("a server that is not there is said to be so, without its password", async () => {
    const error = await openStore({ url: "postgres://ca:hunter2@127.0.0.1:1/ca", sealer }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "store_unavailable", outcomeKnown: true });
    expect(String(error)).not.toContain("hunter2");
  });

  if (!onDemand) test("a user who may not do what the CA does is told what is refused, not that the server is away", async () => {
    const role = `${database.client.database}_reader`;
    const as = (path = new URL(database.url).pathname) => Object.assign(new URL(database.url), { username: role, pathname: path }).href;
    await database.execute(`create role ${role} login; grant usage on schema drizzle to ${role}; grant select on all tables in schema drizzle to ${role}; grant select on log_head, audit_checkpoints to ${role}`);
    const refused = (sqlState: string) => ({ code: "store_unavailable", message: expect.stringContaining(`Postgres answers and refuses (${sqlState}: `) });
    await expect(openStore({ url: as("/nowhere"), sealer })).rejects.toMatchObject(refused("3D000"));
    const reader = await openStore({ url: as(), sealer });
    await expect(reader.acquireLease({ name: "work", holder: "us", ttlMs: 1000 })).rejects.toMatchObject(refused("42501"));
    await expect(reader.commit(record("no"))).rejects.toMatchObject({ code: "store_unavailable", message: expect.stringContaining("42501: permission denied for table log_head") });
    await reader.close();
    await database.execute(`drop owned by ${role}; drop role ${role}`);
  });

  /** The store has found out by itself that the database is back. */
  async function recovered(): Promise<void> {
    while (!await store.ping().then(() => true, () => false)) await new Promise((resolve) => setImmediate(resolve));
  }

  async function terminateBackends(): Promise<void> {
    await database.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'countersign' and datname = current_database()");
  }
});

async function newPostgres(): Promise<TestDatabase & { readonly client: pg.Client }> {
  const url = await copyOfMigrated();
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  let broken: string | undefined;
  const name = client.database!;
  const execute = async (sql: string) => void await client.query(sql.replace("database current_database", `database ${name}`));
  async function breakTable(table: string, operation: string, condition = ""): Promise<void> {
    broken = table;
    await execute("create or replace function broken() returns trigger language plpgsql as $$ begin raise exception 'broken'; end $$");
    await execute(`create trigger broken before ${operation} on ${table} for each row ${condition} execute function broken()`);
  }
  return {
    url,
    client,
    execute,
    breakTable,
    refuseCertificatesFor: (spiffeId) => breakTable("certificates", "insert", `when (new.spiffe_id = '${spiffeId}')`),
    repair: () => execute(`drop trigger broken on ${broken}`),
    async dispose() {
      await client.end();
    },
  };
}

/** A new database with its tables, which are copied in a third of the time that it takes to make them. */
async function copyOfMigrated(): Promise<string> {
  template ??= createDatabase().then(async (url) => {
    await migratePostgres(url, migrationsOf("postgres"));
    return url;
  });
  const original = new URL(await template);
  const name = original.pathname.slice(1);
  const copy = `${name}_${copies += 1}`;
  const admin = new pg.Client({ connectionString: urlOf(original, "postgres") });
  await admin.connect();
  await admin.query(`create database ${copy} template ${name}`);
  await admin.end();
  return urlOf(original, copy);
}

function urlOf(original: URL, database: string): string {
  return Object.assign(new URL(original), { pathname: `/${database}` }).href;
}

let template: Promise<string> | undefined;
let copies = 0;
