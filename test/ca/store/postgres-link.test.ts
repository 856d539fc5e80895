import pg from "pg";
import { expect, test, vi } from "vitest";
import { postgresLink } from "../../../ca/store/postgres-link.ts";
import { createDatabase } from "../../support/postgres.ts";

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

const waiting = { timeout: 20_000, interval: 20 };
