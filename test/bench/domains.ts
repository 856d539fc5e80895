import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { Agent, request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { connect, createSecureContext, type SecureContext } from "node:tls";
import type { AddFederationRequest } from "../../ca/contract/federation.ts";
import { paths } from "../../ca/contract/paths.ts";
import { freePort } from "../../infra/demo/place.ts";
import { adminTokenOf, countersign, startCa, startProcess, startProxy, type RunningCa, type RunningProcess, type RunningProxy } from "../../infra/demo/processes.ts";
import { cpuSecondsOf, residentMebibytesOf } from "./cpu.ts";
import { startHub, type Hub } from "./hub.ts";
import { median, printTable, runLoad } from "./load.ts";
import { handshakeCost, type Way } from "./proxy-measures.ts";

/**
 * What many federated trust domains cost: a CA with 1, one with 100 and one with 1000 of them, each with a proxy, and what the last one asks
 * of a thousand endpoints, as they are, when all fail, and when all are back. Their bundles are on one web server, as those of a hub.
 */
export async function benchDomains(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-bench-"));
  const running: RunningProcess[] = [];
  const hub = await startHub(Math.max(...sizes), calmHintSeconds);
  try {
    const app = await freePort();
    running.push(startProcess("test/bench/app.ts", [], { PORT: String(app) }));
    const sides: Side[] = [];
    for (const domains of sizes) sides.push(await startSide(domains, { folder, hub, app, running }));
    await benchProxies(sides, hub);
    await benchRefreshes(sides.at(-1)!, hub);
  } finally {
    await Promise.all(running.map((process) => process.stop("SIGKILL")));
    await hub.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Side {
  readonly domains: number;
  readonly ca: RunningCa;
  readonly proxy: RunningProxy;
  readonly call: (method: string, path: string, body?: object) => Promise<string>;
  /** CPU of the CA for each that is added, its first look included, in ms. */
  readonly addedMs: number;
}

interface Setting {
  readonly folder: string;
  readonly hub: Hub;
  readonly app: number;
  readonly running: RunningProcess[];
}

async function startSide(domains: number, { folder, hub, app, running }: Setting): Promise<Side> {
  const webRoots = join(folder, "web.pem");
  writeFileSync(webRoots, hub.rootPem);
  const ca = await startCa({ dataDir: join(folder, `ca-${domains}`), env: { COUNTERSIGN_FEDERATION_WEB_ROOTS: webRoots, COUNTERSIGN_LOG_LEVEL: "error" } });
  running.push(ca);
  const call = apiOf(ca);
  const before = cpuSecondsOf(ca.pid);
  await runLoad(domains, 8, async (index) => {
    await call("POST", paths.federation, { trustDomain: `d${index}`, profile: "https_web", endpointUrl: hub.urlOf(index) } satisfies AddFederationRequest);
  });
  const addedMs = (cpuSecondsOf(ca.pid) - before) * 1000 / domains;
  const proxy = await startProxy({
    bootstrap: (await countersign(ca, "token", "create", "--id", `spiffe://${ca.trustDomain}/world`)).trim(), app,
    args: ["--allow", "spiffe://d0/client"], env: { COUNTERSIGN_PROXY_LOG_LEVEL: "error" },
  });
  running.push(proxy);
  const side = { domains, ca, proxy, call, addedMs };
  await untilAllHeld(side);
  return side;
}

/** Memory, a handshake of another trust domain, and what a proxy does when one of them has a new root. */
async function benchProxies(sides: readonly Side[], hub: Hub): Promise<void> {
  await delay(settleMs);
  const memory = new Map(sides.map((side) => [side, residentMebibytesOf(side.proxy.pid)]));
  const { cert, key } = hub.credentials("spiffe://d0/client");
  const secureContext = createSecureContext({ cert, key, minVersion: "TLSv1.3", ecdhCurve: "X25519" });
  const ways = new Map<Side, Way>(sides.map((side) => [side, { name: String(side.domains), process: side.proxy, port: side.proxy.inboundPort, secureContext, startMs: 0 }]));
  const handshakes = await handshakeCost([...ways.values()], handshakesEach);
  const rows: string[][] = [];
  for (const side of sides) {
    const updates = await updateCost(side, hub);
    rows.push([
      String(side.domains), memory.get(side)!.toFixed(0), handshakes.get(ways.get(side)!) ?? "", updates.proxyMs, updates.caMs, (await partingTime(side, hub, secureContext)).toFixed(0), side.addedMs.toFixed(1), residentMebibytesOf(side.ca.pid).toFixed(0),
    ]);
  }
  printTable("Trust domains that are federated with", ["", "MiB of the proxy", "us CPU an inbound connection + request", "ms CPU of the proxy for a bundle that changes", "of the CA", "ms from a removal to the cut", "ms CPU of the CA to add one", "MiB of the CA"], rows);
}

async function updateCost(side: Side, hub: Hub): Promise<{ readonly proxyMs: string; readonly caMs: string }> {
  const [proxyBefore, caBefore] = [cpuSecondsOf(side.proxy.pid), cpuSecondsOf(side.ca.pid)];
  for (let round = 0; round < updates; round++) {
    const told = await toldOf(side);
    hub.change(0);
    await side.call("POST", `${paths.federation}/d0/refresh`);
    await until("the proxy to have the new bundle", async () => await toldOf(side) > told);
  }
  const each = (pid: number, before: number): string => ((cpuSecondsOf(pid) - before) * 1000 / updates).toFixed(1);
  return { proxyMs: each(side.proxy.pid, proxyBefore), caMs: each(side.ca.pid, caBefore) };
}

/** From the answer to `DELETE` to the end of a connection that is open, ms; one that ended before it counts as 0. */
async function partingTime(side: Side, hub: Hub, secureContext: SecureContext): Promise<number> {
  const { call, proxy } = side;
  const times: number[] = [];
  for (let round = 0; round < partings; round++) {
    const socket = connect({ host: "127.0.0.1", port: proxy.inboundPort, secureContext, rejectUnauthorized: false });
    socket.on("error", () => undefined).write("GET / HTTP/1.1\r\nHost: world\r\n\r\n");
    await once(socket, "data");
    const cut = new Promise<number>((resolve) => socket.once("close", () => resolve(performance.now())));
    await call("DELETE", `${paths.federation}/d0`);
    const answeredMs = performance.now();
    times.push(Math.max(await cut - answeredMs, 0));
    await call("POST", paths.federation, { trustDomain: "d0", profile: "https_web", endpointUrl: hub.urlOf(0) } satisfies AddFederationRequest);
    await untilAllHeld(side);
  }
  return median(times);
}

/** What the CA asks of the endpoints, and what that costs it. */
async function benchRefreshes({ ca, call, domains }: Side, hub: Hub): Promise<void> {
  const rows: string[][] = [];
  hub.hint(refreshHintSeconds);
  const before = cpuSecondsOf(ca.pid);
  await runLoad(domains, 8, async (index) => void await call("POST", `${paths.federation}/d${index}/refresh`));
  console.log(`\n${domains} bundles that all changed: ${((cpuSecondsOf(ca.pid) - before) * 1000 / domains).toFixed(1)} ms CPU of the CA each`);
  const measure = async (what: string, answer: Hub["answer"], seconds: number): Promise<void> => {
    hub.answer = answer;
    hub.seen();
    const before = cpuSecondsOf(ca.pid);
    await delay(seconds * 1000);
    const { requests, mostAtOnce, mostInASecond } = hub.seen();
    const cpu = cpuSecondsOf(ca.pid) - before;
    rows.push([what, String(seconds), (requests / seconds).toFixed(1), String(mostInASecond), String(mostAtOnce), (cpu * 1000 / Math.max(requests, 1)).toFixed(1), residentMebibytesOf(ca.pid).toFixed(0)]);
  };
  await measure("all answer", "bundles", 1.5 * refreshHintSeconds);
  await measure("all fail", "faults", 1.5 * refreshHintSeconds);
  await measure("all are back", "bundles", 1.5 * refreshHintSeconds);
  printTable(`A CA that looks for ${domains} bundles each ${refreshHintSeconds} s`, ["", "s", "requests a second", "most in one second", "most at once", "ms CPU of the CA each", "MiB"], rows);
}

async function untilAllHeld({ proxy, domains }: Pick<Side, "proxy" | "domains">): Promise<void> {
  await until(`the proxy to have ${domains} bundles`, async () => {
    const { trustDomains } = JSON.parse(await pageOf(proxy, "/identity")) as { readonly trustDomains: readonly object[] };
    return trustDomains.length > domains;
  });
}

/** How often the proxy was told of other trust domains. */
async function toldOf({ proxy }: Pick<Side, "proxy">): Promise<number> {
  return Number(/^feed_events_total\{event="federation"\} (\d+)$/m.exec(await pageOf(proxy, "/metrics"))?.[1] ?? 0);
}

function pageOf({ adminPort: port }: RunningProxy, path: string): Promise<string> {
  return new Promise((resolve, reject) => get({ port, path }, (answer) => void text(answer).then(resolve, reject)).on("error", reject));
}

function apiOf(ca: RunningCa): Side["call"] {
  const agent = new Agent({ keepAlive: true, ca: readFileSync(ca.rootPemPath), checkServerIdentity: () => undefined });
  const headers = { authorization: `Bearer ${adminTokenOf(ca)}`, "content-type": "application/json" };
  return (method, path, body) => new Promise((resolve, reject) => {
    httpsRequest(new URL(path, ca.url), { method, agent, headers }, (answer) => void text(answer).then((said) => (
      (answer.statusCode ?? 500) < 300 ? resolve(said) : reject(new Error(`${method} ${path} was answered ${answer.statusCode} ${said}`))
    ), reject)).on("error", reject).end(body && JSON.stringify(body));
  });
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + deadlineMs; !(await holds()); await delay(pollMs)) {
    if (Date.now() > deadline) throw new Error(`waited ${deadlineMs / 1000} s in vain for ${what}`);
  }
}

const sizes = [1, 100, 1000];
/** Nothing is asked for meanwhile. */
const calmHintSeconds = 3600;
const refreshHintSeconds = 20;
const updates = 10;
const partings = 3;
const handshakesEach = 300;
const settleMs = 3_000;
const deadlineMs = 120_000;
const pollMs = 100;
