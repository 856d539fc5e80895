import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import Database from "better-sqlite3";
import { build } from "esbuild";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openStore } from "../../../ca/store/open.ts";
import { openSqlite } from "../../../ca/store/sqlite.ts";
import { mountSmallDisk } from "../../support/small-disk.ts";
import { verifyStore } from "../../support/store-oracle.ts";
import { initialize, issue, newSealer, record } from "./acts.ts";
import { describeStoreAuthorities } from "./contract-authorities.ts";
import { describeStoreDocuments } from "./contract-documents.ts";
import { describeStoreFeed } from "./contract-feed.ts";
import { describeStoreReports } from "./contract-reports.ts";
import { describeStore, type TestDatabase } from "./contract.ts";

describeStore("sqlite", async () => newSqlite());
describeStoreFeed("sqlite", async () => newSqlite());
describeStoreReports("sqlite", async () => newSqlite());
describeStoreDocuments("sqlite", async () => newSqlite());
describeStoreAuthorities("sqlite", async () => newSqlite());

describe("the SQLite store", () => {
  const { sealer, verifierKey } = newSealer();
  let database: ReturnType<typeof newSqlite>;
  beforeEach(() => (database = newSqlite()));
  afterEach(() => database.dispose());

  test("its directory and files are for its user alone", async () => {
    const store = await openStore({ url: database.url, sealer });
    await store.commit(issue());
    expect(statSync(join(database.path, "..")).mode & 0o777).toBe(0o700);
    const files = readdirSync(join(database.path, ".."));
    expect(files).toEqual(["ca.db", "ca.db-shm", "ca.db-wal"]);
    for (const file of files) expect(statSync(join(database.path, "..", file)).mode & 0o777).toBe(0o600);
    await store.close();
    expect(readdirSync(join(database.path, ".."))).toEqual(["ca.db"]);
  });

  test("a folder that everybody may write to, and a file that was put there, is refused: the database or its write-ahead log", async () => {
    const folder = join(database.path, "..");
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    chmodSync(folder, 0o777);
    await expect(openStore({ url: database.url, sealer })).rejects.toMatchObject({ code: "store_unavailable", message: expect.stringContaining("chmod 700") });
    chmodSync(folder, 0o700);
    for (const path of [database.path, `${database.path}-wal`, `${database.path}-shm`]) {
      writeFileSync(path, "");
      chmodSync(path, 0o666);
      await expect(openStore({ url: database.url, sealer })).rejects.toMatchObject({ code: "store_unavailable", message: expect.stringContaining(`chmod 600 ${path}`) });
      rmSync(path);
    }
    await (await openStore({ url: database.url, sealer })).close();
  });

  test("every commit is flushed to the disk: WAL, synchronous FULL", async () => {
    const { sqliteCommit, settings } = { ...await import("../../../ca/store/sqlite-commit.ts"), settings: new Map<string, unknown>() };
    const pragma = Database.prototype.pragma;
    Database.prototype.pragma = function (this: Database.Database, source: string, options?: Database.PragmaOptions) {
      settings.set(source, this);
      return pragma.call(this, source, options);
    };
    try {
      await (await openStore({ url: database.url })).close();
      const { sqliteSql } = await import("../../../ca/store/sqlite-sql.ts");
      const writer = sqliteCommit(database.path, sqliteSql());
      const connection = [...settings.values()].at(-1) as Database.Database;
      expect(pragma.call(connection, "journal_mode", { simple: true })).toBe("wal");
      expect(pragma.call(connection, "synchronous", { simple: true })).toBe(2);
      writer.close();
    } finally {
      Database.prototype.pragma = pragma;
    }
  });

  test("processes that start at once on a new database migrate it once", async () => {
    const opened = await Promise.all([1, 2, 3].map(async () => {
      const script = `const { openStore } = await import(${JSON.stringify(openModule)}); await (await openStore({ url: ${JSON.stringify(database.url)} })).close();`;
      const child = spawn(process.execPath, ["--input-type=module", "--eval", script], { stdio: ["ignore", "ignore", "inherit"] });
      return (await once(child, "exit"))[0] as number;
    }));
    expect(opened).toEqual([0, 0, 0]);
  });

  test("authorities of the first schema are taken over: key sealed, and what they signed lives as long as they do", async () => {
    const folder = join(database.path, "..");
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const [first] = (JSON.parse(readFileSync(join(repository, "migrations/sqlite/meta/_journal.json"), "utf8")) as { entries: { when: number }[] }).entries;
    const old = new Database(database.path);
    old.exec(readFileSync(join(repository, "migrations/sqlite/0000_first.sql"), "utf8"));
    old.exec("create table __drizzle_migrations (id integer primary key, hash text, created_at numeric)");
    old.prepare("insert into __drizzle_migrations values (1, 'first', ?)").run(first!.when);
    old.prepare("insert into authorities values ('aa', 'issuer', 'active', x'01', x'02', 1, 9, 5)").run();
    old.close();
    chmodSync(database.path, 0o600);
    const store = await openStore({ url: database.url, sealer });
    expect(await store.authorities()).toEqual([{
      id: "aa", type: "issuer", state: "active", certificate: Buffer.of(1), key: { kind: "sealed", sealed: Buffer.of(2) },
      lastNotAfterMs: 9, stateSinceMs: 5, notBeforeMs: 1, notAfterMs: 9, createdAtMs: 5,
    }]);
    await store.close();
  });

  test("a thread that dies before its commit rejects what was in flight as unknown, and the next commit is served", async () => {
    const store = await openSqlite({ path: database.path, writerEntry: dyingWriter });
    await store.unlock(sealer);
    await store.commit(initialize(verifierKey));
    const inFlight = store.commit(record("die-before"));
    await expect(inFlight).rejects.toMatchObject({ code: "store_unavailable", outcomeKnown: false });
    expect(await verifyStore(store, verifierKey)).toHaveLength(1);
    expect(await store.commit(record("next"))).toEqual({ logIndex: 1 });
    await store.close();
  });

  test("a thread that dies after its commit and before its answer leaves a commit that landed whole", async () => {
    const store = await openSqlite({ path: database.path, writerEntry: dyingWriter });
    await store.unlock(sealer);
    await expect(store.commit(record("die-after", "whole"))).rejects.toMatchObject({ code: "store_unavailable", outcomeKnown: false });
    expect(await verifyStore(store, verifierKey)).toHaveLength(2);
    expect(await store.commit(record("next"))).toEqual({ logIndex: 2 });
    await store.close();
  });

  test("a thread that cannot start is an unavailable store, not a hang", async () => {
    const store = await openSqlite({ path: database.path, writerEntry: new URL("no-such-writer.ts", import.meta.url) });
    await expect(store.unlock(sealer)).rejects.toMatchObject({ code: "store_unavailable" });
    await expect(store.ping()).rejects.toMatchObject({ code: "store_unavailable" });
    await store.close();
  });

  test("another process that holds the writer lock delays a commit and does not fail it", async () => {
    const store = await openStore({ url: database.url, sealer });
    const other = new Database(database.path);
    other.exec("begin immediate");
    let landed = false;
    const commit = store.commit(record("a")).then((receipt) => {
      landed = true;
      return receipt;
    });
    // Reads do not wait for it, and while they are answered the commit cannot be.
    for (let round = 0; round < 20; round++) await store.checkpoint();
    expect(landed).toBe(false);
    other.exec("rollback");
    expect(await commit).toEqual({ logIndex: 0 });
    other.close();
    await store.close();
  });

  test("a lease that another process took while this one waited for the writer lock is the other's", async () => {
    const store = await openStore({ url: database.url, sealer });
    const other = new Database(database.path);
    other.exec("begin immediate");
    const answer = store.acquireLease({ name: "work", holder: "one", ttlMs: 60_000 });
    // Long enough for the writer's thread to have asked for the lock.
    const fromMs = Date.now();
    while (Date.now() < fromMs + 100);
    other.prepare("insert into leases (name, holder, token, expires_at_ms) values ('work', 'other', 1, ?)").run(Date.now() + 60_000);
    other.exec("commit");
    expect(await answer).toEqual({ held: false, holder: "other" });
    other.close();
    await store.close();
  });

  test("it runs bundled: two files, the writer's beside the main one", async () => {
    const out = join(database.path, "..", "..", "bundle");
    mkdirSync(out);
    symlinkSync(join(repository, "node_modules"), join(out, "node_modules"));
    await build({
      entryPoints: [join(repository, "ca/store/open.ts"), join(repository, "ca/store/sqlite-writer.ts")],
      outdir: out, bundle: true, platform: "node", format: "esm", external: ["better-sqlite3", "pg"], logLevel: "silent",
      banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    });
    writeFileSync(join(out, "package.json"), "{\"type\":\"module\"}");
    const script = `
      import { openStore } from ${JSON.stringify(join(out, "open.js"))};
      const store = await openStore({
        url: ${JSON.stringify(database.url)}, migrationsFolder: ${JSON.stringify(join(repository, "migrations/sqlite"))},
        sealer: { origin: ${JSON.stringify(sealer.origin)}, privateKeyPkcs8: Buffer.from(${JSON.stringify(Buffer.from(sealer.privateKeyPkcs8).toString("base64"))}, "base64") },
      });
      await store.commit({ kind: "record", entries: ["{}"] });
      await store.close();`;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", script], { stdio: ["ignore", "ignore", "inherit"] });
    expect((await once(child, "exit"))[0]).toBe(0);
    const store = await openStore({ url: database.url, readOnly: true });
    expect(await verifyStore(store, verifierKey)).toHaveLength(1);
    await store.close();
  });

  const unusable: readonly (readonly [what: string, url: (path: string) => string])[] = [
    ["a directory", (path) => `sqlite:${join(path, "..", "..")}`],
    ["nothing", () => "sqlite:"],
    ["a host", () => "sqlite://host/ca.db"],
    ["another database", () => "mysql://user:hunter2@host/ca"],
  ];
  test.each(unusable)("a URL that names %s is refused, without repeating a password", async (_what, url) => {
    const error = await openStore({ url: url(database.path), sealer }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "store_unavailable" });
    expect(String(error)).not.toContain("hunter2");
  });

  test("a file that is no database is refused and left as it is", async () => {
    mkdirSync(join(database.path, ".."));
    writeFileSync(database.path, "these are somebody's notes, long enough to be looked at as a header of 100 bytes. ".repeat(3));
    const { size } = statSync(database.path);
    await expect(openStore({ url: database.url, sealer })).rejects.toMatchObject({ code: "store_unavailable" });
    expect(statSync(database.path).size).toBe(size);
  });

  test("reading a database that is not there creates nothing", async () => {
    await expect(openStore({ url: database.url, readOnly: true })).rejects.toMatchObject({ code: "store_unavailable" });
    expect(readdirSync(join(database.path, "..", ".."))).toEqual([]);
  });

  test("a database that cannot be got at is not said to be missing", async () => {
    mkdirSync(join(database.path, ".."));
    writeFileSync(database.path, "");
    await expect(openStore({ url: `${database.url}/ca.db`, readOnly: true })).rejects.toThrow(/ca\.db cannot be read \(ENOTDIR\)/);
  });

  test("on a full disk the first start says so; on one that is read-only a reader says what it lacks", async ({ skip }) => {
    const small = mountSmallDisk(60 * 1024);
    if (small === undefined) return skip();
    try {
      await expect(openStore({ url: `sqlite:${small.path}/ca.db`, sealer })).rejects.toThrow("its disk is full");
    } finally {
      small.dispose();
    }
    const disk = mountSmallDisk(4 * 1024 * 1024)!;
    try {
      const url = `sqlite:${disk.path}/ca.db`;
      await (await openStore({ url, sealer })).close();
      spawnSync("mount", ["-o", "remount,ro", disk.path]);
      await expect(openStore({ url, readOnly: true })).rejects.toThrow("copy it");
    } finally {
      disk.dispose();
    }
  });
});

const repository = fileURLToPath(new URL("../../..", import.meta.url));
const openModule = new URL("../../../ca/store/open.ts", import.meta.url).href;
const dyingWriter = new URL("dying-writer.ts", import.meta.url);

function newSqlite(): TestDatabase & { readonly path: string } {
  const directory = mkdtempSync(join(tmpdir(), "countersign-sqlite-"));
  const path = join(directory, "data", "ca.db");
  async function execute(sql: string): Promise<void> {
    const database = new Database(path);
    try {
      database.exec(sql);
    } finally {
      database.close();
    }
  }
  return {
    path,
    url: `sqlite:${path}`,
    execute,
    breakTable: (table, operation) => execute(`create trigger broken before ${operation} on ${table} begin select raise(abort, 'broken'); end`),
    refuseCertificatesFor: (spiffeId) => execute(
      `create trigger broken before insert on certificates when new.spiffe_id = '${spiffeId}' begin select raise(abort, 'refused'); end`,
    ),
    repair: () => execute("drop trigger broken"),
    async dispose() {
      rmSync(directory, { recursive: true });
    },
  };
}
