import { execFile } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { SecureContext } from "node:tls";
import { cpuSecondsOf, residentMebibytesOf } from "./cpu.ts";
import { median, runLoad } from "./load.ts";
import type { Peer, Side } from "./peers.ts";
import { rawClient, type RawClient } from "./raw-client.ts";

/** A side and how it is reached. */
export interface Way extends Side {
  /** Undefined: plain text. */
  readonly secureContext: SecureContext | undefined;
  readonly startMs: number;
}

type Cells = readonly (readonly string[])[];

/** Starts it and asks until there is an answer. */
export async function startTime(peer: Peer, secureContext: SecureContext | undefined): Promise<{ side: Side; startMs: number }> {
  const side = await peer.start();
  const started = performance.now();
  for (;;) {
    try {
      await askOnce(side.port, secureContext);
      return { side, startMs: performance.now() - started };
    } catch (error) {
      if (performance.now() - started > startTimeoutMs) throw new Error(`${peer.name} gave no answer:\n${side.process.output()}`, { cause: error });
      await delay(2);
    }
  }
}

/** CPU of a new connection with one request, microseconds. */
export async function handshakeCost(ways: readonly Way[], count = handshakes): Promise<ReadonlyMap<Way, string>> {
  const runs = await alternate(ways, async (way) => {
    const cpu = await cpuDuring(way, () => runLoad(count, 4, () => askOnce(way.port, way.secureContext)));
    return (cpu / count) * 1e6;
  }, handshakeWarmUps);
  return new Map(ways.map((way, index) => [way, median(runs[index]!).toFixed(0)]));
}

/** CPU of a request on one of 16 open connections, microseconds. */
export async function requestCost(ways: readonly Way[]): Promise<Cells> {
  const runs = await alternate(ways, async (way) => {
    const clients = await connected(way, 16);
    const cpu = await cpuDuring(way, () => runLoad(requests, clients.length, (_, worker) => clients[worker]!.ask(request, answerEnd)));
    for (const { socket } of clients) socket.destroy();
    return (cpu / requests) * 1e6;
  });
  return runs.map((values) => [median(values).toFixed(1)]);
}

/**
 * The same with as many requests as it can take, on 64 connections: what is asked with and what answers are quicker than it is.
 * @param fronts  where each way is asked in plain text
 */
export async function fullLoadCost(ways: readonly Way[], fronts: readonly number[]): Promise<Cells> {
  const runs = await alternate(ways, async (way) => {
    const before = cpuSecondsOf(way.process.pid);
    const count = await wrk(fronts[ways.indexOf(way)]!);
    return ((cpuSecondsOf(way.process.pid) - before) / count) * 1e6;
  });
  return runs.map((values) => [median(values).toFixed(1)]);
}

/** @returns how many requests were answered */
async function wrk(port: number): Promise<number> {
  const { stdout } = await promisify(execFile)("wrk", ["-t1", "-c64", `-d${fullLoadSeconds}s`, "-H", "Host: world", "-H", "User-Agent: bench/1", "-H", "Accept: */*", "-H", "Accept-Encoding: gzip", `http://127.0.0.1:${port}/world`]);
  const count = Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0);
  if (count === 0 || /Non-2xx|Socket errors/.test(stdout)) throw new Error(`wrk was not answered as it should be:\n${stdout}`);
  return count;
}

/** CPU seconds a gigabyte, down and up. */
export async function bulkCost(ways: readonly Way[]): Promise<Cells> {
  const body = Buffer.alloc(transferBytes, "x");
  const upload = Buffer.concat([Buffer.from(`POST / HTTP/1.1\r\nHost: world\r\nContent-Length: ${transferBytes}\r\n\r\n`), body]);
  const down = (client: RawClient) => client.download(`GET /bytes/${transferBytes} HTTP/1.1\r\nHost: world\r\n\r\n`, transferBytes);
  const up = (client: RawClient) => client.ask(upload, `${transferBytes}\n`);
  const cells: string[][] = ways.map(() => []);
  for (const move of [down, up]) {
    const runs = await alternate(ways, async (way) => {
      const [client] = await connected(way, 1);
      const cpu = await cpuDuring(way, async () => { for (let count = 0; count < transfers; count++) await move(client!); });
      client!.socket.destroy();
      return cpu / ((transferBytes * transfers) / 1e9);
    });
    runs.forEach((values, index) => cells[index]!.push(median(values).toFixed(2)));
  }
  return cells;
}

/** What a request takes longer than without it, at a fixed rate, microseconds: p50 and p99. */
export async function addedLatency(ways: readonly Way[], app: number): Promise<Cells> {
  const direct = { port: app, secureContext: undefined };
  const runs = await alternate([direct, ...ways], async (way) => {
    const clients = await connected(way, 32);
    const latencies = await atRate(clients);
    for (const { socket } of clients) socket.destroy();
    return latencies;
  });
  const [base, ...rest] = runs.map((values) => ["p50Us", "p99Us"].map((quantile) => median(values.map((value) => value[quantile as keyof typeof value]))));
  return rest.map((values) => values.map((value, index) => (value - base![index]!).toFixed(0)));
}

/** Resident memory as started, and what 1000 connections add that have asked once and wait. */
export async function idleMemory(ways: readonly Way[]): Promise<Cells> {
  const cells: string[][] = [];
  for (const way of ways) {
    const before = residentMebibytesOf(way.process.pid);
    const clients = await connected(way, 1000);
    cells.push([before.toFixed(0), (residentMebibytesOf(way.process.pid) - before).toFixed(0)]);
    for (const { socket } of clients) socket.destroy();
  }
  return cells;
}

/** Requests at a fixed rate, whether or not the ones before are answered. */
async function atRate(clients: readonly RawClient[]): Promise<{ p50Us: number; p99Us: number }> {
  const free = [...clients];
  const latencies: number[] = [];
  const open: Promise<void>[] = [];
  const started = performance.now();
  for (let sent = 0; sent < rateSeconds * ratePerSecond;) {
    const due = Math.min(rateSeconds * ratePerSecond, ((performance.now() - started) * ratePerSecond) / 1000);
    for (; sent < due; sent++) {
      const client = free.pop();
      if (client === undefined) continue;
      const begun = performance.now();
      open.push(client.ask(request, answerEnd).then(() => {
        latencies.push((performance.now() - begun) * 1000);
        free.push(client);
      }));
    }
    await delay(1);
  }
  await Promise.all(open);
  latencies.sort((a, b) => a - b);
  const at = (quantile: number): number => latencies[Math.floor(latencies.length * quantile)] ?? Number.NaN;
  return { p50Us: at(0.5), p99Us: at(0.99) };
}

async function askOnce(port: number, secureContext: SecureContext | undefined): Promise<void> {
  const client = await rawClient(port, secureContext);
  try {
    await client.ask(request, answerEnd);
  } finally {
    client.socket.destroy();
  }
}

/** Connections that have carried a request each. */
async function connected(way: Pick<Way, "port" | "secureContext">, count: number): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  while (clients.length < count) {
    const client = await rawClient(way.port, way.secureContext);
    await client.ask(request, answerEnd);
    clients.push(client);
  }
  return clients;
}

async function cpuDuring({ process: { pid } }: Way, load: () => Promise<unknown>): Promise<number> {
  const before = cpuSecondsOf(pid);
  await load();
  return cpuSecondsOf(pid) - before;
}

/** One run of each after the other, several times, behind rounds that warm up. */
async function alternate<W, T>(ways: readonly W[], run: (way: W) => Promise<T>, warmUps = 1): Promise<T[][]> {
  const results = ways.map((): T[] => []);
  for (let round = 0; round < warmUps + repetitions; round++) {
    for (const [index, way] of ways.entries()) {
      const result = await run(way);
      if (round >= warmUps) results[index]!.push(result);
    }
  }
  return results;
}

/** As small clients send it. */
const request = "GET / HTTP/1.1\r\nHost: world\r\nUser-Agent: bench/1\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nX-Request-Id: 2f1c9a6e\r\n\r\n";
const answerEnd = "world\n";
const fullLoadSeconds = 3;
const handshakes = 1000;
/** V8 compiles what a handshake runs only when thousands have run it. */
const handshakeWarmUps = 3;
const requests = 10_000;
const transferBytes = 64 * 1024 * 1024;
const transfers = 2;
const ratePerSecond = 1000;
const rateSeconds = 2;
const repetitions = 3;
const startTimeoutMs = 30_000;
