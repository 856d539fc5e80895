import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { request } from "node:https";
import { get } from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** A real process of ours, started as a user would start it. */
export interface RunningProcess {
  readonly pid: number;
  readonly child: ChildProcess;
  /** Everything it has written so far, for the message when it dies. */
  output(): string;
  /** Sends the signal and waits for the end; resolves with the exit code, null when a signal ended it. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

export interface RunningCa extends RunningProcess {
  readonly url: string;
  readonly dataDir: string;
  readonly rootPemPath: string;
  readonly adminTokenPath: string;
  readonly trustDomain: string;
}

export interface RunningProxy extends RunningProcess {
  readonly inboundPort: number;
  readonly outboundPort: number;
  readonly adminPort: number;
}

/** Starts a TypeScript file of this project with the Node that runs us. */
export function startProcess(file: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): RunningProcess {
  const child = spawn(process.execPath, [join(projectRoot, file), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"] ?? "", ...env },
  });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${file} could not be started`);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => (output = (output + chunk).slice(-maxOutputLength)));
  }
  return {
    pid,
    child,
    output: () => output,
    async stop(signal = "SIGTERM") {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const exited = once(child, "exit");
      child.kill(signal);
      await exited;
      return child.exitCode;
    },
  };
}

/** `countersign serve` on a free loopback port, ready to issue when this resolves. */
export async function startCa({ dataDir, port, env = {}, args = [], program = programs.ca }: {
  readonly dataDir: string;
  readonly port?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** Path from the project's folder. */
  readonly program?: string;
}): Promise<RunningCa> {
  const listen = port ?? (await freePort());
  const trustDomain = env["COUNTERSIGN_TRUST_DOMAIN"] ?? "countersign.local";
  const url = `https://127.0.0.1:${listen}`;
  const started = startProcess(program, ["serve", "--data-dir", dataDir, "--listen", `127.0.0.1:${listen}`, ...args], env);
  await untilReady("the CA", started, () => httpsStatus(`${url}/readyz`));
  return { ...started, url, dataDir, trustDomain, rootPemPath: join(dataDir, "root.pem"), adminTokenPath: join(dataDir, "admin-token") };
}

/** `countersign-proxy` with its listeners on free loopback ports, holding its identity when this resolves. */
export async function startProxy({ bootstrap, app, args = [], env = {}, ports, program = programs.proxy }: {
  readonly bootstrap: string;
  /** Port of the local app. */
  readonly app: number;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly ports?: { readonly inbound: number; readonly outbound: number; readonly admin: number };
  readonly program?: string;
}): Promise<RunningProxy> {
  const { inbound, outbound, admin } = ports ?? { inbound: await freePort(), outbound: await freePort(), admin: await freePort() };
  const started = startProcess(
    program,
    [
      "--inbound", `127.0.0.1:${inbound}`, "--app", `127.0.0.1:${app}`, "--outbound", `127.0.0.1:${outbound}`,
      "--admin", `127.0.0.1:${admin}`, ...args,
    ],
    { COUNTERSIGN_BOOTSTRAP: bootstrap, ...env },
  );
  await untilReady("the proxy", started, () => httpStatus(`http://127.0.0.1:${admin}/readyz`));
  return { ...started, inboundPort: inbound, outboundPort: outbound, adminPort: admin };
}

/** Runs one `countersign` command to its end and returns what it printed on standard output. */
export async function countersign(ca: RunningCa, ...args: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, [join(projectRoot, programs.ca), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"] ?? "", COUNTERSIGN_URL: ca.url, COUNTERSIGN_DATA_DIR: ca.dataDir },
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`countersign ${args.join(" ")} ended with ${code}:\n${stderr}`);
  return stdout;
}

/** The admin token of a CA we started. */
export const adminTokenOf = (ca: RunningCa): string => readFileSync(ca.adminTokenPath, "utf8").trim();

/** A TCP port that was free a moment ago. */
export async function freePort(preferred = 0): Promise<number> {
  const server = createServer();
  try {
    server.listen(preferred, "127.0.0.1");
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  } catch (error) {
    if (preferred === 0) throw error;
    return freePort();
  } finally {
    server.close();
  }
}

/** Ends the process where it does not become ready: nobody else knows of it. */
async function untilReady(what: string, { child, output, stop }: RunningProcess, status: () => Promise<number>): Promise<void> {
  const deadline = Date.now() + readyTimeoutMs;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${what} ended with ${child.exitCode} before it was ready:\n${output()}`);
    if ((await status().catch(() => 0)) === 200) return;
    if (Date.now() > deadline) {
      await stop("SIGKILL");
      throw new Error(`${what} was not ready after ${readyTimeoutMs / 1000} s:\n${output()}`);
    }
    await delay(readyPollMs);
  }
}

function httpStatus(url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    get(url, (response) => resolve((response.resume(), response.statusCode ?? 0))).on("error", reject);
  });
}

/** Readiness only: nothing secret is sent and nothing received is believed, so the certificate is not looked at. */
function httpsStatus(url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    request(url, { rejectUnauthorized: false, agent: false }, (response) => resolve((response.resume(), response.statusCode ?? 0)))
      .on("error", reject)
      .end();
  });
}

const projectRoot = fileURLToPath(new URL("../..", import.meta.url));
/** The sources, or what `npm run build` made of them: what ships, and in a third of the time. Paths in the project. */
export const programs = process.env["COUNTERSIGN_PROGRAMS"] === "bundles"
  ? { ca: "dist/countersign.js", proxy: "dist/countersign-proxy.js" }
  : { ca: "ca/main.ts", proxy: "proxy/main.ts" };
const readyTimeoutMs = 30_000;
const readyPollMs = 30;
const maxOutputLength = 64 * 1024;
