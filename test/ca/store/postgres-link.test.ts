import pg from "pg";
import { expect, test, vi } from "vitest";
import { postgresLink, type PostgresLink } from "../../../ca/store/postgres-link.ts";
import { createDatabase } from "../../support/postgres.ts";
import { breakableLink } from "./breakable-link.ts";

test("when an administrator ends the session that watches, the others stand and nothing is refused", async () => {
  const url = await createDatabase();
  const link = postgresLink([url], { readOnly: false });
  const other = new pg.Client(link.options());
  await other.connect();
  const [first] = await watchers(1);
  await other.query("select pg_terminate_backend($1, 5000)", [first]);
  await vi.waitFor(async () => expect(await watchers(1)).not.toEqual([first]), waiting);
  link.require();
  await other.end();
  await link.close();

  async function watchers(count: number): Promise<readonly number[]> {
    return vi.waitFor(async () => {
      const { rows } = await other.query<{ pid: number }>(
        "select pid from pg_stat_activity where application_name = 'countersign' and datname = current_database() and pid <> pg_backend_pid()");
      expect(rows).toHaveLength(count);
      return rows.map(({ pid }) => pid);
    }, waiting);
  }
});

test("ended while the database is asked, and told so before the connection closes, it is made anew and the others stand", async () => {
  const url = await createDatabase();
  const network = await breakableLink(url);
  const admin = new pg.Client({ connectionString: url });
  await admin.connect();
  const link = postgresLink([network.url], { readOnly: false });
  const watcher = () => vi.waitFor(async () => {
    const { rows: [row, ...more] } = await admin.query<{ pid: number }>("select pid from pg_stat_activity where application_name = 'countersign' and datname = current_database()");
    expect(more).toEqual([]);
    return row!.pid;
  }, waiting);
  try {
    const first = await watcher();
    const { cut } = await standing(link);
    await network.hold();
    await admin.query("select pg_terminate_backend($1, 5000)", [first]);
    expect(await watcher()).not.toBe(first);
    link.require();
    expect(cut).not.toHaveBeenCalled();
  } finally {
    await link.close();
    await admin.end();
    await network.close();
  }
});

test("a process that stood still while it asked does not take its own silence for the database's: it asks again, and the others stand", async () => {
  const network = await breakableLink(await createDatabase());
  const link = postgresLink([network.url], { readOnly: false });
  const { other, cut } = await standing(link);
  const asked = vi.spyOn(pg.Client.prototype, "query");
  try {
    await network.hold();
    const before = asked.mock.calls.length;
    // As a process that is stopped and continued.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4_500);
    await vi.waitFor(() => expect(asked.mock.calls.length).toBeGreaterThan(before + 1), waiting);
    link.require();
    expect(cut).not.toHaveBeenCalled();
  } finally {
    asked.mockRestore();
    await link.close();
    await other.end();
    await network.close();
  }
});

test.each([1, 2])("a server that takes no further session (of %d in the URL): the connections that stand are kept, and nothing is refused", async (count) => {
  const url = new URL(await createDatabase());
  const admin = new pg.Client({ connectionString: url.href });
  await admin.connect();
  const role = `${admin.database}_limited`;
  await admin.query(`create role ${role} login`);
  url.username = role;
  const link = postgresLink([url.href, ...Array<string>(count - 1).fill(url.href)], { readOnly: false });
  const { other, cut } = await standing(link);
  const asked = vi.spyOn(pg.Client.prototype, "connect");
  try {
    await admin.query(`alter role ${role} connection limit 1`);
    await admin.query("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = $1 and application_name = 'countersign'", [role]);
    // Whoever asks for a third time was refused twice.
    await vi.waitFor(() => expect(asked.mock.calls.length).toBeGreaterThan(2), waiting);
    link.require();
    expect(cut).not.toHaveBeenCalled();
    await admin.query(`alter role ${role} connection limit -1`);
    await vi.waitFor(async () => expect((await other.query("select from pg_stat_activity where usename = $1", [role])).rowCount).toBe(2), waiting);
  } finally {
    asked.mockRestore();
    await other.end();
    await link.close();
    await admin.query(`drop role ${role}`);
    await admin.end();
  }
});

test("a server that only reads is asked four times a second whether it writes again, no more often", async () => {
  const url = await createDatabase();
  const admin = new pg.Client({ connectionString: url });
  await admin.connect();
  await admin.query(`alter database ${admin.database} set default_transaction_read_only = on`);
  const askedAtMs: number[] = [];
  const connect = pg.Client.prototype.connect as () => Promise<pg.Client>;
  const asked = vi.spyOn(pg.Client.prototype, "connect").mockImplementation(function (this: pg.Client) {
    askedAtMs.push(performance.now());
    return connect.call(this);
  } as never);
  const link = postgresLink([url], { readOnly: false });
  try {
    await vi.waitFor(() => expect(askedAtMs.length).toBeGreaterThan(4), waiting);
    // Timers round to milliseconds.
    for (const [index, atMs] of askedAtMs.slice(1).entries()) expect(atMs - askedAtMs[index]!).toBeGreaterThan(240);
    expect(() => link.require()).toThrow("only reads");
  } finally {
    asked.mockRestore();
    await link.close();
    await admin.end();
  }
});

test("on demand nothing looks at the database until it is asked, and then it is told how it stands", async () => {
  const clock = vi.spyOn(Date, "now");
  const url = await createDatabase();
  const link = postgresLink([url], { readOnly: false, borrow: () => pool.connect() });
  const pool = new pg.Pool({ ...link.options(), max: 1 });
  pool.on("error", () => undefined);
  const connection = async () => (await pool.query<{ pid: number }>("select pg_backend_pid() as pid")).rows[0]!.pid;
  try {
    await link.awake();
    const before = await connection();
    await link.awake();
    expect(await connection()).toBe(before);
    // As after a freeze of an hour: what stood open that long is cut rather than believed.
    clock.mockReturnValue(Date.now() + 3_600_000);
    await link.awake();
    expect(await connection()).not.toBe(before);
    link.require();
    expect(link.databaseTimeMs()).toBeDefined();
    // Ended while nobody used it: replaced, and nobody is refused.
    const [ended, other] = [await connection(), new pg.Client({ connectionString: url })];
    await other.connect();
    await other.query("select pg_terminate_backend($1, 5000)", [ended]);
    await other.end();
    clock.mockReturnValue(Date.now() + 2_000);
    await link.awake();
    expect(await connection()).not.toBe(ended);
  } finally {
    clock.mockRestore();
    await link.close();
    await pool.end();
  }
});

test("on demand too: one that is ended while the database is asked is replaced, and nobody is refused", async () => {
  const clock = vi.spyOn(Date, "now");
  const url = await createDatabase();
  const network = await breakableLink(url);
  const admin = new pg.Client({ connectionString: url });
  await admin.connect();
  const link = postgresLink([network.url], { readOnly: false, borrow: () => pool.connect() });
  const pool = new pg.Pool({ ...link.options(), max: 1 });
  pool.on("error", () => undefined);
  try {
    const { rows: [row] } = await pool.query<{ pid: number }>("select pg_backend_pid() as pid");
    await link.awake();
    clock.mockReturnValue(Date.now() + 2_000);
    const asked = network.hold();
    const awake = link.awake();
    await asked;
    await admin.query("select pg_terminate_backend($1, 5000)", [row!.pid]);
    await awake;
  } finally {
    clock.mockRestore();
    await link.close();
    await pool.end();
    await admin.end();
    await network.close();
  }
});

test("on demand, one that the network resets while the database is asked is replaced, and nobody is refused", async () => {
  const clock = vi.spyOn(Date, "now");
  const network = await breakableLink(await createDatabase());
  const link = postgresLink([network.url], { readOnly: false, borrow: () => pool.connect() });
  const pool = new pg.Pool({ ...link.options(), max: 1 });
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  try {
    await link.awake();
    clock.mockReturnValue(Date.now() + 2_000);
    network.resetAtLook();
    await link.awake();
    link.require();
  } finally {
    clock.mockRestore();
    await link.close();
    await pool.end();
    await network.close();
  }
});

/** Another connection of the store, once the first look was answered; `cut` is called if it is. */
async function standing(link: PostgresLink): Promise<{ readonly other: pg.Client; readonly cut: ReturnType<typeof vi.fn> }> {
  const other = new pg.Client({ ...link.options(), application_name: "other" });
  const cut = vi.fn();
  other.on("error", cut);
  await other.connect();
  await vi.waitFor(() => expect(link.databaseTimeMs()).toBeDefined(), waiting);
  return { other, cut };
}

const waiting = { timeout: 20_000, interval: 20 };
