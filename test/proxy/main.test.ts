import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { get } from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { encodeBootstrap } from "../../ca/pki/bootstrap.ts";
import { fakeCa } from "../support/fake-ca.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface ProxyProcess {
  readonly child: ChildProcess;
  /** What it has written so far, standard output and standard error. */
  readonly lines: readonly string[];
  /** Resolves with the first line of the log, past or to come, that has this message. */
  logged(message: string): Promise<Readonly<Record<string, unknown>>>;
  /** Resolves with the exit code when everything it wrote has been read. */
  exit(): Promise<number | null>;
}

function startProxy(bootstrap: string | undefined, ...args: readonly string[]): ProxyProcess {
  const child = spawn(process.execPath, [mainPath, ...args], {
    stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env["PATH"] ?? "", ...(bootstrap !== undefined && { COUNTERSIGN_BOOTSTRAP: bootstrap }) },
  });
  const closed = once(child, "close");
  closing.push(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await closed;
  });
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => {
      lines.push(line);
      for (const look of [...waiting]) look();
    });
  }
  return {
    child, lines,
    logged: (message) => new Promise((resolve, reject) => {
      const look = (): void => {
        const line = lines.find((text) => text.startsWith("{") && (JSON.parse(text) as { message: string }).message === message);
        if (line !== undefined) resolve(JSON.parse(line) as Record<string, unknown>);
      };
      waiting.add(look);
      look();
      void closed.then(() => reject(new Error(`ended before it said "${message}":\n${lines.join("\n")}`)));
    }),
    async exit() {
      await closed;
      return child.exitCode;
    },
  };
}

function body(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk)).on("end", () => resolve(text));
    }).on("error", reject);
  });
}

test.runIf(process.platform === "linux" && process.getBuiltinModule("node:ffi") !== undefined)("the log is JSON line by line, also where Node warns that FFI is experimental", async () => {
  const ca = await fakeCa();
  closing.push(() => ca.stop());
  const proxy = startProxy(encodeBootstrap(ca.bootstrap), "--inbound", "127.0.0.1:0", "--outbound", "off", "--admin", "off", "--transparent", "127.0.0.1:0", "--log-level", "debug");
  await Promise.all([proxy.logged("countersign-proxy started"), proxy.logged("FFI is an experimental feature and might change at any time")]);
  proxy.child.kill("SIGTERM");
  await proxy.exit();
  expect(proxy.lines.filter((line) => !line.startsWith("{"))).toEqual([]);
});

test("a log that nobody reads any more does not end the proxy", async () => {
  const ca = await fakeCa();
  closing.push(() => ca.stop());
  const proxy = startProxy(encodeBootstrap(ca.bootstrap), "--inbound", "127.0.0.1:0", "--outbound", "127.0.0.1:0", "--admin", "127.0.0.1:0");
  await Promise.all([proxy.logged("revocations in force"), proxy.logged("policy in force")]);
  proxy.child.stderr?.destroy();
  proxy.child.kill("SIGTERM"); // which it logs
  expect(await proxy.exit()).toBe(0);
});

test.runIf(existsSync("/dev/full"))("output that cannot be written is a sentence and exit code 1, of either program", () => {
  for (const program of [mainPath, fileURLToPath(new URL("../../ca/main.ts", import.meta.url))]) {
    const full = openSync("/dev/full", "w");
    const { status, stderr } = spawnSync(process.execPath, [program, "--help"], { stdio: ["ignore", full, "pipe"], encoding: "utf8" });
    closeSync(full);
    expect([status, stderr]).toEqual([1, expect.stringMatching(/^countersign(-proxy)?: the output cannot be written \(ENOSPC\)[^\n]*\n$/)]);
  }
});

test("countersign-proxy starts, gets its certificate, is ready, shows no secret, and ends with 0 on SIGTERM", async () => {
  const ca = await fakeCa();
  closing.push(() => ca.stop());
  const proxy = startProxy(encodeBootstrap(ca.bootstrap), "--inbound", "127.0.0.1:0", "--outbound", "127.0.0.1:0", "--admin", "127.0.0.1:0");
  const { admin } = await proxy.logged("countersign-proxy started");
  await Promise.all([proxy.logged("revocations in force"), proxy.logged("policy in force")]);
  expect(JSON.parse(await body(`http://${admin as string}/readyz`))).toEqual({ ready: true, reasons: [] });
  const identity = await body(`http://${admin as string}/identity`);
  expect(JSON.parse(identity)).toMatchObject({
    spiffeId: ca.core.spiffeId, live: true, trustDomain: "east", trustDomains: [{ trustDomain: "east", sequence: "1" }],
    chainFingerprints: [expect.stringMatching(/^[0-9a-f]{64}$/), expect.stringMatching(/^[0-9a-f]{64}$/)],
  });
  const shown = `${proxy.lines.join("\n")}${identity}${await body(`http://${admin as string}/metrics`)}`;
  expect(shown).not.toContain(ca.core.token);
  expect(shown).not.toContain("PRIVATE KEY");
  proxy.child.kill("SIGTERM");
  expect(await proxy.exit()).toBe(0);
  expect(proxy.lines.at(-1)).toContain("countersign-proxy stopped");
});

test("a bootstrap string on the command line ends it with 2 and one line that does not repeat it", async () => {
  const text = encodeBootstrap({ caUrl: "https://127.0.0.1:1", token: "join_secret", rootFingerprint: "ab".repeat(32), trustDomain: "east" });
  const proxy = startProxy(undefined, "--bootstrap", text);
  expect(await proxy.exit()).toBe(2);
  expect(proxy.lines).toHaveLength(1);
  expect(proxy.lines[0]).toContain("process list");
  expect(proxy.lines[0]).not.toContain(text.slice(20, 40));
});

const mainPath = fileURLToPath(new URL("../../proxy/main.ts", import.meta.url));
