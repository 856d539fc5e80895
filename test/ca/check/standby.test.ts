import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { pino } from "pino";
import { expect, test } from "vitest";
import { readConfig } from "../../../ca/config/config.ts";
import { serveCa } from "../../../ca/runtime/node.ts";
import { postgresVitals } from "../../../ca/store/vitals.ts";
import { countersign } from "../../support/command-line.ts";
import { startPostgres } from "../../support/postgres-server.ts";

const patient = { timeout: 30_000, interval: 200 };

test("check tells of a Postgres standby that keeps up, that stands still and that has gone, and of a role that may not see it", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "countersign-standby-"));
  const server = await startPostgres();
  const standby = await server.startStandby();
  const url = await server.createDatabase();
  const served = await serveCa(readConfig({ file: { trustDomain: "east", dataDir, store: url, listen: "127.0.0.1:0" } }), pino({ level: "silent" }));
  const primary = new pg.Client({ connectionString: url });
  let copy: pg.Client | undefined;
  try {
    await primary.connect();
    const lines = async (): Promise<readonly Record<string, string>[]> => (
      JSON.parse((await countersign(["check", "-o", "json"], { COUNTERSIGN_URL: served.url, COUNTERSIGN_DATA_DIR: dataDir })).stdout) as readonly Record<string, string>[]
    );
    const replication = async () => (await lines()).find(({ check }) => check === "store-replication");
    await expect.poll(replication, patient).toMatchObject({ status: "ok", name: "the database's standbys keep up" });
    expect((await lines()).find(({ check }) => check === "store-disk")).toMatchObject({ status: "ok", name: expect.stringMatching(/^the database takes \d+ MiB; how much room its disk has left cannot be asked over SQL/) as string });

    // It knows the database once it has replayed that much.
    await expect.poll(() => (copy = new pg.Client({ connectionString: standby.urlOf(url) })).connect().then(() => true, () => false), patient).toBe(true);
    await copy!.query("select pg_wal_replay_pause()");
    for (let segments = 0; segments < 3; segments++) await primary.query(`create table filler_${segments} (); select pg_switch_wal()`);
    await expect.poll(replication, patient).toMatchObject({ status: "warning", hint: expect.stringMatching(/the slowest of 1 is \d+ s and \d+ MiB behind; .*pg_stat_replication/) as string });
    await copy!.query("select pg_wal_replay_resume()");
    await expect.poll(replication, patient).toMatchObject({ status: "ok" });

    await primary.query("create role plain; grant usage on schema drizzle to plain; grant select on all tables in schema drizzle to plain; set role plain");
    expect((await postgresVitals(primary).vitals()).standbys).toEqual({ count: 1, missing: [] });

    await copy!.end();
    await standby.stop();
    await expect.poll(replication, patient).toMatchObject({ status: "warning", hint: expect.stringMatching(/nobody has come for the replication slot standby, and the database keeps \d+ MiB/) as string });
  } finally {
    await Promise.allSettled([primary.end(), copy?.end()]);
    await served.stop();
    await server.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}, 120_000);
