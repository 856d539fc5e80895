import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../../infra/demo/place.ts";
import { countersign, startCa, startProxy, type RunningProcess, type RunningProxy } from "../../infra/demo/processes.ts";
import { cpuSecondsOf } from "./cpu.ts";
import { median, printTable } from "./load.ts";

const run = promisify(execFile);

/**
 * HTTP/2 by h2load through an outbound proxy and four kinds of inbound proxy: what it costs there to look into each stream (policy,
 * identity, metrics), beside carrying the bytes as they are. CPU is of the inbound proxy, or of the outbound one for its own row.
 */
export async function benchHttp2(): Promise<void> {
  if (spawnSync("h2load", ["--version"]).status !== 0) return console.log("\nHTTP/2 is skipped: h2load (package nghttp2-client) is not installed here.");
  const dir = mkdtempSync(join(tmpdir(), "countersign-bench-"));
  const running: RunningProcess[] = [];
  const keep = <T extends RunningProcess>(process: T): T => (running.push(process), process);
  // What it holds for streams that wait for their windows is no limit to be met here.
  const app = createServer({ maxSessionMemory: 1000 }).on("stream", (stream: ServerHttp2Stream, headers) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" });
    stream.end(headers[":path"] === "/large" ? large : "hello");
  });
  try {
    app.listen(0, "127.0.0.1");
    const ca = keep(await startCa({ dataDir: join(dir, "ca") }));
    const proxy = async (name: string, ...args: readonly string[]): Promise<RunningProxy> => {
      const bootstrap = (await countersign(ca, "token", "create", "--id", `spiffe://${ca.trustDomain}/${name}`)).trim();
      return keep(await startProxy({ bootstrap, app: (app.address() as AddressInfo).port, args }));
    };
    const [aware, opaque] = [await proxy("world"), await proxy("opaque", "--inbound-protocol", "tcp")];
    const [toAware, toOpaque] = [await freePort(), await freePort()];
    const leads = (to: RunningProxy, name: string): string => `127.0.0.1:${to.inboundPort},spiffe://${ca.trustDomain}/${name}`;
    const client = await proxy(
      "client", "--route", `world=${leads(aware, "world")}`, "--tcp", `127.0.0.1:${toAware}=${leads(aware, "world")}`, "--tcp", `127.0.0.1:${toOpaque}=${leads(opaque, "opaque")}`,
    );
    const ways = [
      { name: "inbound, each stream looked into", measured: aware, args: [`--connect-to=127.0.0.1:${toAware}`] },
      { name: "inbound, bytes as they are", measured: opaque, args: [`--connect-to=127.0.0.1:${toOpaque}`] },
      { name: "outbound, by authority", measured: client, args: [`--connect-to=127.0.0.1:${client.outboundPort}`] },
      { name: "outbound, bytes as they are", measured: client, args: [`--connect-to=127.0.0.1:${toAware}`] },
    ];
    const rows = ways.map(({ name }) => ({ name, perRequest: [] as number[], perGigabyte: [] as number[] }));
    for (let round = 0; round < rounds; round++) {
      for (const [index, { measured, args }] of ways.entries()) {
        rows[index]!.perRequest.push((await cpuOf(measured, requests, [...args, "http://world/"]) / requests) * 1e6);
        rows[index]!.perGigabyte.push((await cpuOf(measured, downloads, [...args, "http://world/large"]) / (downloads * large.length)) * 1e9);
      }
    }
    printTable("HTTP/2", ["", "us CPU a request", "CPU s/GB down"], rows.map(({ name, perRequest, perGigabyte }) => [name, median(perRequest).toFixed(1), median(perGigabyte).toFixed(2)]));
  } finally {
    app.close();
    await Promise.all(running.map((process) => process.stop()));
    rmSync(dir, { recursive: true });
  }
}

async function cpuOf({ pid }: RunningProcess, count: number, args: readonly string[]): Promise<number> {
  const before = cpuSecondsOf(pid);
  const { stdout } = await run("h2load", ["-n", String(count), "-c", "4", "-m", "16", "-H", "te: trailers", "-H", "content-type: application/grpc", ...args]);
  if (!stdout.includes(`${count} succeeded`)) throw new Error(stdout);
  return cpuSecondsOf(pid) - before;
}

const rounds = 3;
const requests = 8000;
const downloads = 200;
const large = Buffer.alloc(1_000_000, "x");
