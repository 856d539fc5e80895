import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request, type RequestOptions } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createSecureContext } from "node:tls";
import { countersign, freePort, startCa, startProcess, startProxy, type RunningProcess, type RunningProxy } from "../../infra/demo/processes.ts";
import { cpuSecondsOf, residentMebibytesOf } from "./cpu.ts";
import { median, printTable, runLoad } from "./load.ts";

/**
 * The proxy pair, from this process: new mutual TLS connections with one request each to an inbound proxy, keep-alive requests
 * and bulk through an outbound and an inbound one. Everything is on, as in production: verification, deny-list, metrics.
 */
export async function benchProxy(): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), "countersign-bench-"));
  const running: RunningProcess[] = [];
  const keep = <T extends RunningProcess>(process: T): T => (running.push(process), process);
  try {
    const ca = keep(await startCa({ dataDir }));
    const [clientId, serverId] = ["client", "server"].map((name) => `spiffe://${ca.trustDomain}/ns/bench/sa/${name}`) as [string, string];
    const app = await freePort();
    keep(startProcess("test/bench/app.ts", [], { PORT: String(app) }));
    const bootstrap = async (id: string) => (await countersign(ca, "token", "create", "--id", id)).trim();
    const server = keep(await startProxy({ bootstrap: await bootstrap(serverId), app }));
    const client = keep(await startProxy({
      bootstrap: await bootstrap(clientId), app, args: ["--route", `world=127.0.0.1:${server.inboundPort},${serverId}`],
    }));
    const [cert, key] = [join(dataDir, "bench.pem"), join(dataDir, "bench.key")];
    await countersign(ca, "certificate", "issue", "--id", clientId, "--cert", cert, "--key", key);
    const barePort = await freePort();
    const bare = keep(startProcess("test/bench/bare-forwarder.ts", [], {
      PORT: String(barePort), APP: String(app), CERT: cert, KEY: key, ROOT: ca.rootPemPath,
    }));
    await once(bare.child.stdout!, "data");
    await benchHandshakes([["countersign-proxy", server, server.inboundPort], ["bare forwarder", bare, barePort]], cert, key);
    await benchRequests(client, server);
    await benchBytes(client, server);
    printTable("Memory after all of it, MiB resident", ["side", "RSS"], [
      ["outbound", residentMebibytesOf(client.pid).toFixed(0)], ["inbound", residentMebibytesOf(server.pid).toFixed(0)],
    ]);
  } finally {
    await Promise.all(running.map((process) => process.stop()));
    rmSync(dataDir, { recursive: true });
  }
}

/** The sides take turns, so that their ratio holds on a machine whose speed drifts. */
async function benchHandshakes(sides: readonly (readonly [string, RunningProcess, number])[], cert: string, key: string): Promise<void> {
  const secureContext = createSecureContext({ cert: readFileSync(cert), key: readFileSync(key), minVersion: "TLSv1.3" });
  const handshake = (port: number) => new Promise<void>((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, secureContext, rejectUnauthorized: false });
    let answer = "";
    socket.setNoDelay(true);
    socket.on("data", (data: Buffer) => (answer += data.toString("latin1")));
    socket.on("error", reject);
    socket.on("close", () => (answer.startsWith("HTTP/1.1 200") ? resolve() : reject(new Error(`handshake answered ${JSON.stringify(answer)}`))));
    socket.write("GET / HTTP/1.1\r\nHost: world\r\nConnection: close\r\n\r\n");
  });
  const runs = sides.map((): Measured[] => []);
  for (let run = 0; run <= repetitions; run++) {
    for (const [index, [, process, port]] of sides.entries()) {
      const result = await measured([process], handshakes, 4, () => handshake(port));
      // The first round warms up.
      if (run > 0) runs[index]!.push(result);
    }
  }
  printTable(`Handshakes: new mutual TLS connection with one request, inbound side (median of ${repetitions} runs)`,
    ["", "CPU ms each", "rate/s", "p50 ms", "p99 ms"],
    sides.map(([name], index) => [name, pick(runs[index]!, ({ cpu }) => (cpu[0]! / handshakes) * 1000, 3), ...loadCells(runs[index]!)]));
}

async function benchRequests(client: RunningProxy, server: RunningProxy): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const runs = await repeat(() => measured([client, server], requests, 16, () => ask(client, agent, { path: "http://world/" })));
  agent.destroy();
  printTable(`Keep-alive requests through the pair, 16 connections (median of ${repetitions} runs)`,
    ["", "outbound us each", "inbound us each", "rate/s", "p50 ms", "p99 ms"],
    [["GET 6 bytes", ...[0, 1].map((side) => pick(runs, ({ cpu }) => (cpu[side]! / requests) * 1e6, 1)), ...loadCells(runs)]]);
}

async function benchBytes(client: RunningProxy, server: RunningProxy): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const size = 128 * 1024 * 1024;
  const body = Buffer.alloc(size, "x");
  const rows: string[][] = [];
  for (const [name, options, sent] of [
    ["down", { path: `http://world/bytes/${size}` }, undefined], ["up", { path: "http://world/", method: "POST" }, body],
  ] as const) {
    const runs = await repeat(() => measured([client, server], transfers, 2, () => ask(client, agent, options, sent)));
    const gigabytes = (size * transfers) / 1e9;
    rows.push([name, ...[0, 1].map((side) => pick(runs, ({ cpu }) => cpu[side]! / gigabytes, 2)), pick(runs, ({ seconds }) => gigabytes / seconds, 2)]);
  }
  agent.destroy();
  printTable(`Bulk through the pair (median of ${repetitions} runs)`, ["", "outbound CPU s/GB", "inbound CPU s/GB", "GB/s"], rows);
}

function ask({ outboundPort }: RunningProxy, agent: Agent, options: RequestOptions, body?: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port: outboundPort, agent, ...options, headers: { host: "world", ...(body && { "content-length": body.length }) } }, (response) => {
      response.resume().on("error", reject).on("end", () => {
        if (response.statusCode === 200) return resolve();
        reject(new Error(`the pair answered ${response.statusCode}`));
      });
    }).on("error", reject).end(body);
  });
}

type Measured = Awaited<ReturnType<typeof measured>>;

/** One load run, and the CPU seconds that each process used during it. */
async function measured(processes: readonly RunningProcess[], count: number, concurrency: number, operation: () => Promise<void>) {
  const before = processes.map(({ pid }) => cpuSecondsOf(pid));
  const load = await runLoad(count, concurrency, operation);
  return { ...load, cpu: processes.map(({ pid }, index) => cpuSecondsOf(pid) - before[index]!) };
}

async function repeat(run: () => Promise<Measured>): Promise<Measured[]> {
  await run();
  const runs: Measured[] = [];
  while (runs.length < repetitions) runs.push(await run());
  return runs;
}

function pick(runs: readonly Measured[], value: (run: Measured) => number, digits: number): string {
  return median(runs.map(value)).toFixed(digits);
}

function loadCells(runs: readonly Measured[]): string[] {
  return [pick(runs, ({ perSecond }) => perSecond, 0), pick(runs, ({ p50Ms }) => p50Ms, 2), pick(runs, ({ p99Ms }) => p99Ms, 2)];
}

const handshakes = 2000;
const requests = 20_000;
const transfers = 4;
const repetitions = 3;
