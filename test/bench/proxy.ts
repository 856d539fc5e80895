import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execPath } from "node:process";
import { createSecureContext } from "node:tls";
import { promisify } from "node:util";
import { bundle } from "../../infra/bundle.ts";
import { freePort } from "../../infra/demo/place.ts";
import { countersign, startCa, startProcess, startProxy, type RunningCa, type RunningProcess } from "../../infra/demo/processes.ts";
import { printTable } from "./load.ts";
import { addedLatency, bulkCost, fullLoadCost, handshakeCost, idleMemory, requestCost, startTime, type Way } from "./proxy-measures.ts";
import { inboundPeers, outboundPeers, quickApp, started, type Peer } from "./peers.ts";

/**
 * The proxy beside the programs people use for this, in the same run: each in turn, so that their ratios hold on a machine whose speed
 * drifts. Everything is on, as in production: verification, deny-list, policy, identity header, metrics. CPU is of the one process.
 */
export async function benchProxy(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "countersign-bench-"));
  const running: RunningProcess[] = [];
  const keep = <T extends RunningProcess>(process: T): T => (running.push(process), process);
  try {
    // As it ships: one file, no types to strip.
    await bundle("proxy", dir);
    const ca = keep(await startCa({ dataDir: join(dir, "ca") }));
    const id = (name: string): string => `spiffe://${ca.trustDomain}/ns/bench/sa/${name}`;
    const slowApp = await freePort();
    keep(startProcess("test/bench/app.ts", [], { PORT: String(slowApp) }));
    const quick = await quickApp(dir, slowApp);
    if (quick !== undefined) keep(quick.process);
    const app = quick?.port ?? slowApp;
    const hasWrk = quick !== undefined && (await promisify(execFile)("wrk", ["-v"]).then(() => true, (error: { readonly code?: unknown }) => error.code !== "ENOENT"));
    if (!hasWrk) console.log("Not installed, so not measured under full load: nginx, wrk.");
    const issued = async (name: string) => {
      const [certPath, keyPath] = [join(dir, `${name}.pem`), join(dir, `${name}.key`)];
      await countersign(ca, "certificate", "issue", "--id", id(name), "--dns", name, "--cert", certPath, "--key", keyPath);
      return { certPath, keyPath };
    };
    const client = await issued("client");
    const server = await issued("world");
    // One group that every side has, so that the handshakes compare.
    const secureContext = createSecureContext({
      cert: readFileSync(client.certPath), key: readFileSync(client.keyPath), minVersion: "TLSv1.3", ecdhCurve: "X25519",
    });

    // What asks in plain text, for a load that knows no client certificates.
    const front = async ({ port }: Way): Promise<number> => {
      const [stream] = outboundPeers({ dir, ...client, rootPath: ca.rootPemPath, to: port });
      const side = await stream!.start();
      keep(side.process);
      return side.port;
    };
    await benchSide("Inbound", secureContext, app, [
      ourSide(ca, "countersign http", id("world"), app, ["--inbound-protocol", "http"], "inboundPort", dir),
      ourSide(ca, "countersign tcp", id("world"), app, ["--inbound-protocol", "tcp"], "inboundPort", dir),
      bareForwarder(app, server, ca),
      ...inboundPeers({ dir, ...server, rootPath: ca.rootPemPath, to: app }),
    ], keep, hasWrk ? front : undefined);

    // What the outbound sides lead to is the same for all: the first of the inbound peers that is there, else ourselves.
    const far = inboundPeers({ dir, ...server, rootPath: ca.rootPemPath, to: app })[0]
      ?? ourSide(ca, "far", id("world"), app, ["--inbound-protocol", "tcp"], "inboundPort", dir);
    const { process: farProcess, port: to } = await far.start();
    keep(farProcess);
    const [tcpPort, plainPort] = [await freePort(), await freePort()];
    await benchSide("Outbound", undefined, app, [
      ourSide(ca, "countersign http", id("client"), app, ["--route", `world=127.0.0.1:${to},${id("world")}`], "outboundPort", dir),
      ourSide(ca, "countersign tcp", id("client"), app, ["--tcp", `127.0.0.1:${tcpPort}=127.0.0.1:${to},${id("world")}`], tcpPort, dir),
      // Without ML-KEM, which the others do not have.
      ourSide(ca, "countersign tcp, x25519", id("client"), app, ["--key-exchange", "x25519", "--tcp", `127.0.0.1:${plainPort}=127.0.0.1:${to},${id("world")}`], plainPort, dir),
      ...outboundPeers({ dir, ...client, rootPath: ca.rootPemPath, to }),
    ], keep, hasWrk ? async ({ port }) => port : undefined);
  } finally {
    await Promise.all(running.map((process) => process.stop()));
    rmSync(dir, { recursive: true });
  }
}

async function benchSide(title: string, secureContext: Way["secureContext"], app: number, peers: readonly Peer[], keep: <T extends RunningProcess>(process: T) => T, front?: (way: Way) => Promise<number>): Promise<void> {
  const ways: Way[] = [];
  const rows = new Map<string, string[]>(peers.map(({ name }) => [name, []]));
  const add = (cells: readonly (readonly string[])[]): void => ways.forEach(({ name }, index) => rows.get(name)!.push(...cells[index]!));
  for (const peer of peers) {
    const { side, startMs } = await startTime(peer, secureContext);
    keep(side.process);
    ways.push({ ...side, secureContext, startMs });
  }
  // An HTTP forwarder keeps its connections out, so there a new one in is no handshake.
  const handshaking = secureContext === undefined ? ways.filter(({ name }) => !name.endsWith("http")) : ways;
  const memory = await idleMemory(ways);
  const handshakes = await handshakeCost(handshaking);
  add(ways.map((way) => [handshakes.get(way) ?? ""]));
  // First what warms all of them up: a request costs what it costs in a process that has been at it for a while.
  const underFullLoad = front && await fullLoadCost(ways, await Promise.all(ways.map(front)));
  add(await requestCost(ways));
  if (underFullLoad !== undefined) add(underFullLoad);
  add(await bulkCost(ways));
  add(await addedLatency(ways, app));
  add(memory);
  add(ways.map(({ startMs }) => [startMs.toFixed(0)]));
  printTable(title, [
    "", "us CPU a connection + request", "us CPU a keep-alive request", ...(front === undefined ? [] : ["under full load"]), "CPU s/GB down", "up", "us added p50", "p99", "MiB idle", "+ 1000 connections", "ms to first answer",
  ], [...rows].map(([name, cells]) => [name, ...cells]));
  for (const { process } of ways) await process.stop();
}

/** The least that Node can do: what our own code adds is what is above it. */
function bareForwarder(app: number, { certPath, keyPath }: { readonly certPath: string; readonly keyPath: string }, ca: RunningCa): Peer {
  return {
    name: "bare Node, TCP",
    async start() {
      const port = await freePort();
      const env = { PORT: String(port), APP: String(app), CERT: certPath, KEY: keyPath, ROOT: ca.rootPemPath };
      return { name: "bare Node, TCP", port, process: started(execPath, [join(import.meta.dirname, "bare-forwarder.ts")], env) };
    },
  };
}

/** Our proxy, restarted with an identity it has, as it would be. */
function ourSide(ca: RunningCa, name: string, spiffeId: string, app: number, args: readonly string[], port: "inboundPort" | "outboundPort" | number, dir: string): Peer {
  return {
    name,
    async start() {
      const stateDir = mkdtempSync(join(dir, "state-"));
      // The name that those ask for who know no SPIFFE IDs.
      const bootstrap = (await countersign(ca, "token", "create", "--id", spiffeId, "--dns", "world")).trim();
      const ports = { inbound: await freePort(), outbound: await freePort(), admin: await freePort() };
      const settings = { bootstrap, app, ports, args: ["--state-dir", stateDir, ...args] };
      await (await startProxy(settings)).stop();
      const process = started(execPath, [
        join(dir, "countersign-proxy.js"), "--inbound", `127.0.0.1:${ports.inbound}`, "--outbound", `127.0.0.1:${ports.outbound}`, "--admin", `127.0.0.1:${ports.admin}`, "--app", `127.0.0.1:${app}`, ...settings.args,
      ], { COUNTERSIGN_BOOTSTRAP: bootstrap });
      return { name, process, port: typeof port === "number" ? port : port === "inboundPort" ? ports.inbound : ports.outbound };
    },
  };
}
