import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import Database from "better-sqlite3";
import { afterAll, describe, expect, test } from "vitest";
import { serve as serveCommand } from "../../../ca/cli/serve.ts";
import { programs } from "../../../infra/demo/processes.ts";
import { tooWide } from "../../support/command-line.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-serve-"));
const started: ChildProcess[] = [];
afterAll(async () => {
  for (const child of started) if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

interface Process {
  readonly child: ChildProcess;
  readonly output: { stdout: string; stderr: string };
  readonly ended: Promise<number | null>;
  /** Resolves when standard output holds the text. */
  says(text: string): Promise<void>;
}

function start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Process {
  const child = spawn(process.execPath, [fileURLToPath(new URL(`../../../${programs.ca}`, import.meta.url)), ...args], {
    env: { PATH: process.env["PATH"], ...env },
  });
  started.push(child);
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
  const ended = once(child, "close").then(([code]) => code as number | null);
  async function says(text: string): Promise<void> {
    while (!output.stdout.includes(text)) {
      const over = await Promise.race([once(child.stdout!, "data").then(() => false), ended.then(() => true)]);
      if (over && !output.stdout.includes(text))
        throw new Error(`ended without saying "${text}":\n${output.stdout}${output.stderr}`);
    }
  }
  return { child, output, ended, says };
}

const serve = (dataDir: string, ...more: readonly string[]): Process =>
  start(["serve", "--data-dir", dataDir, "--listen", "127.0.0.1:0", "--trust-domain", "east", ...more]);
const urlIn = (stdout: string): string => /https:\/\/127\.0\.0\.1:\d+/.exec(stdout)?.[0] ?? "";

describe("countersign serve as a process", () => {
  const dataDir = join(folder, "data");

  test("tells a person what to do next in 80 columns, never the admin token, and ends with 0 on SIGTERM", async () => {
    const served = serve(dataDir);
    await served.says("token create");
    const { stdout } = served.output;
    const token = readFileSync(join(dataDir, "admin-token"), "utf8").trim();
    expect(stdout).toContain("A new CA for the trust domain east");
    for (const file of ["root.pem", "audit-log.vkey", "admin-token"]) expect(stdout).toContain(join(dataDir, file));
    expect(tooWide(stdout)).toEqual([]);
    const created = start(["token", "create", "--id", "spiffe://east/ns/shop/sa/cart"], {
      COUNTERSIGN_URL: urlIn(stdout),
      COUNTERSIGN_DATA_DIR: dataDir,
    });
    expect([await created.ended, created.output.stdout]).toEqual([
      0,
      expect.stringMatching(/^countersign_join_\S+\n$/),
    ]);
    served.child.kill("SIGTERM");
    expect(await served.ended).toBe(0);
    expect(served.output.stdout + served.output.stderr).not.toContain(token);
    for (const line of served.output.stderr.trim().split("\n")) expect(JSON.parse(line)).toHaveProperty("msg");
  });

  test("a second start resumes with the same root, and ends with 0 on SIGINT", async () => {
    const root = readFileSync(join(dataDir, "root.pem"), "utf8");
    const served = serve(dataDir);
    await served.says("audit key");
    expect(served.output.stdout).toContain("goes on");
    expect(served.output.stdout).toMatch(/SHA-256 +[0-9a-f]{32}\n +[0-9a-f]{32}\n/);
    expect(readFileSync(join(dataDir, "root.pem"), "utf8")).toBe(root);
    served.child.kill("SIGINT");
    expect(await served.ended).toBe(0);
  });

  test("a request under way is answered after SIGTERM, and a second signal ends the process at once", async () => {
    const served = serve(dataDir);
    await served.says("audit key");
    const url = urlIn(served.output.stdout);
    const options = { method: "POST", ca: readFileSync(join(dataDir, "root.pem")), agent: false as const };
    const headers = {
      "content-type": "application/json",
      authorization: `Bearer ${readFileSync(join(dataDir, "admin-token"), "utf8").trim()}`,
    };
    const post = () => request(`${url}/v1/tokens`, { ...options, headers: { ...headers, "content-length": 55 } });
    const [slow, stuck] = [post(), post()];
    stuck.on("error", () => undefined);
    for (const outgoing of [slow, stuck]) {
      outgoing.flushHeaders();
      outgoing.write('{"type":"join",');
    }
    await Promise.all(
      [slow, stuck].map(async (outgoing) =>
        once(outgoing.socket ?? (await once(outgoing, "socket"))[0], "secureConnect"),
      ),
    );
    served.child.kill("SIGTERM");
    // The listener is closed once nobody can connect any more: the signal has been taken.
    await expect.poll(() => canConnect(Number(new URL(url).port)), { interval: 20 }).toBe(false);
    slow.end('"spiffeId":"spiffe://east/ns/shop/sa/x"}');
    const [response] = (await once(slow, "response")) as [NodeJS.ReadableStream & { statusCode: number }];
    expect(response.statusCode).toBe(201);
    response.resume();
    served.child.kill("SIGTERM");
    expect(await served.ended).toBe(1);
  });
});

describe("what it cannot start with is said in a sentence, without a stack, and with an exit code", () => {
  test.for([
    [
      "a port in use",
      async () => {
        const blocker = createServer().listen(0, "127.0.0.1");
        await once(blocker, "listening");
        return {
          args: ["--listen", `127.0.0.1:${(blocker.address() as AddressInfo).port}`],
          done: () => blocker.close(),
        };
      },
      1,
      "another process listens there",
    ],
    [
      "a data folder that is a file",
      () => {
        const path = join(folder, "file");
        writeFileSync(path, "");
        return Promise.resolve({ args: ["--data-dir", path] });
      },
      1,
      "--data-dir",
    ],
    [
      "another sealing key",
      () => {
        const key = join(folder, "other.key");
        writeFileSync(key, `${Buffer.alloc(32, 7).toString("base64")}\n`, { mode: 0o600 });
        return Promise.resolve({ args: ["--data-dir", join(folder, "data"), "--sealing-key-file", key] });
      },
      1,
      "sealing key",
    ],
    [
      "another trust domain",
      () => Promise.resolve({ args: ["--data-dir", join(folder, "data"), "--trust-domain", "west"] }),
      1,
      "belongs to the trust domain east",
    ],
    [
      "a newer database",
      () => {
        const path = join(folder, "newer.db");
        const database = new Database(path);
        database.pragma("user_version = 99");
        database.exec(
          "create table __drizzle_migrations (id integer primary key, hash text, created_at numeric); insert into " +
          "__drizzle_migrations values (1, 'future', 9999999999999)",
        );
        database.close();
        return Promise.resolve({ args: ["--store", `sqlite:${path}`] });
      },
      1,
      "newer",
    ],
    ["a setting that is wrong", () => Promise.resolve({ args: ["--certificate-lifetime", "24"] }), 2, "24h"],
  ] as const)("%s", async ([name, prepare, exitCode, expected]) => {
    const { args, done } = { done: () => undefined as unknown, ...(await prepare()) };
    let [stdout, stderr] = ["", ""];
    const io = {
      stdout: (text: string) => void (stdout += text),
      stderr: (text: string) => void (stderr += text),
      env: {},
    };
    const dataDir = join(folder, name.replaceAll(" ", "-"));
    const flags = [
      "--data-dir",
      dataDir,
      "--listen",
      "127.0.0.1:0",
      "--trust-domain",
      "east",
      "--log-level",
      "silent",
      ...args,
    ];
    expect(await serveCommand(flags, io, () => new Promise(() => undefined))).toBe(exitCode);
    expect(stdout).toBe("");
    expect(stderr.replaceAll("\n", " ")).toContain(expected);
    expect(stderr).not.toMatch(/^ {4}at /m);
    expect(tooWide(stderr)).toEqual([]);
    done();
  });
});

test("a start that fails ends the process with its exit code and no stack", async () => {
  const path = join(folder, "no-folder");
  writeFileSync(path, "");
  const served = serve(path);
  expect(await served.ended).toBe(1);
  expect(served.output.stderr).toContain(path);
  expect(served.output.stderr).not.toMatch(/^ {4}at /m);
});

test("output that is closed early is no failure", async () => {
  const help = start(["serve", "--help"]);
  help.child.stdout?.destroy();
  expect(await help.ended).toBe(0);
  expect(help.output.stderr).toBe("");
});

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => (socket.destroy(), resolve(true))).on("error", () => resolve(false));
  });
}
