import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { loopbackPlace, type Place } from "./place.ts";

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
  readonly place: Place;
  readonly url: string;
  readonly dataDir: string;
  readonly rootPemPath: string;
  readonly adminTokenPath: string;
  readonly trustDomain: string;
}

export interface RunningProxy extends RunningProcess {
  readonly place: Place;
  readonly inboundPort: number;
  readonly outboundPort: number;
  readonly adminPort: number;
}

/**
 * Starts a TypeScript file of this project with the Node that runs us.
 * @param talks  messages go to and from it
 */
export function startProcess(
  file: string, args: readonly string[], env: Readonly<Record<string, string>> = {}, { place = here, talks = false }: { readonly place?: Place; readonly talks?: boolean } = {},
): RunningProcess {
  const child = spawnIn(place, join(projectRoot, file), args, env, ...(talks ? ["ipc" as const] : []));
  const { pid } = child;
  if (pid === undefined) throw new Error(`${file} could not be started`);
  let output = "";
  for (const stream of [child.stdout!, child.stderr!]) {
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

/** `countersign serve` on a free port, ready to issue when this resolves. */
export async function startCa({ dataDir, port, env = {}, args = [], program = programs.ca, place = here, talks = false }: {
  readonly dataDir: string;
  readonly place?: Place;
  readonly talks?: boolean;
  readonly port?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** Path from the project's folder. */
  readonly program?: string;
}): Promise<RunningCa> {
  const listen = `${place.address}:${port ?? (await place.port())}`;
  const trustDomain = env["COUNTERSIGN_TRUST_DOMAIN"] ?? "countersign.local";
  const url = `https://${listen}`;
  const started = startProcess(program, ["serve", "--data-dir", dataDir, "--listen", listen, ...args], env, { place, talks });
  await untilReady("the CA", started, () => place.status(`${url}/readyz`));
  return { ...started, place, url, dataDir, trustDomain, rootPemPath: join(dataDir, "root.pem"), adminTokenPath: join(dataDir, "admin-token") };
}

/** `countersign-proxy` with its listeners on free ports, holding its identity when this resolves. */
export async function startProxy({ bootstrap, app, args = [], env = {}, ports, program = programs.proxy, place = here, talks = false }: {
  readonly bootstrap: string;
  /** Port of the local app. */
  readonly app: number;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly ports?: { readonly inbound: number; readonly outbound: number; readonly admin: number };
  readonly program?: string;
  readonly place?: Place;
  readonly talks?: boolean;
}): Promise<RunningProxy> {
  const { inbound, outbound, admin } = ports ?? { inbound: await place.port(), outbound: await place.port(), admin: await place.port() };
  const { address, loopback } = place;
  const started = startProcess(
    program,
    [
      "--inbound", `${address}:${inbound}`, "--app", `${loopback}:${app}`, "--outbound", `${loopback}:${outbound}`,
      "--admin", `${loopback}:${admin}`, ...args,
    ],
    { COUNTERSIGN_BOOTSTRAP: bootstrap, ...env },
    { place, talks },
  );
  await untilReady("the proxy", started, () => place.status(`http://${loopback}:${admin}/readyz`));
  return { ...started, place, inboundPort: inbound, outboundPort: outbound, adminPort: admin };
}

/** Runs one `countersign` command to its end and returns what it printed on standard output. */
export async function countersign(ca: Pick<RunningCa, "url" | "dataDir"> & { readonly place?: Place }, ...args: readonly string[]): Promise<string> {
  const child = spawnIn(ca.place ?? here, join(projectRoot, programs.ca), args, { COUNTERSIGN_URL: ca.url, COUNTERSIGN_DATA_DIR: ca.dataDir });
  let stdout = "";
  let stderr = "";
  child.stdout!.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk));
  child.stderr!.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`countersign ${args.join(" ")} ended with ${code}:\n${stderr}`);
  return stdout;
}

/** The admin token of a CA we started. */
export const adminTokenOf = (ca: RunningCa): string => readFileSync(ca.adminTokenPath, "utf8").trim();

function spawnIn({ enter }: Place, file: string, args: readonly string[], env: Readonly<Record<string, string>>, ...channel: readonly "ipc"[]): ChildProcess {
  const [command = "", ...first] = [...enter, process.execPath];
  return spawn(command, [...first, file, ...args], { stdio: ["ignore", "pipe", "pipe", ...channel], env: { ...bareEnvironment(), ...env } });
}

function bareEnvironment(): Record<string, string> {
  const { PATH = "", NODE_COMPILE_CACHE } = process.env;
  return { PATH, ...(NODE_COMPILE_CACHE !== undefined && { NODE_COMPILE_CACHE }) };
}

/** Waits until the status is 200, and ends the process where it does not become ready: nobody else knows of it. */
export async function untilReady(what: string, { child, output, stop }: RunningProcess, status: () => Promise<number>): Promise<void> {
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

const projectRoot = fileURLToPath(new URL("../..", import.meta.url));
/** The sources, or what `npm run build` made of them: what ships, and in a third of the time. Paths in the project. */
export const programs = process.env["COUNTERSIGN_PROGRAMS"] === "bundles"
  ? { ca: "dist/countersign.js", proxy: "dist/countersign-proxy.js" }
  : { ca: "ca/main.ts", proxy: "proxy/main.ts" };
const here = loopbackPlace();
/** On a machine with ten times the work it can do. */
const readyTimeoutMs = 60_000;
const readyPollMs = 30;
const maxOutputLength = 64 * 1024;
