import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { readConfig as readCaConfig } from "../../ca/config/config.ts";
import type { Policy, PolicyRule } from "../../ca/contract/policies.ts";
import type { Service } from "../../ca/contract/services.ts";
import type { Caller } from "../../ca/http/services.ts";
import { serveCa, type ServedCa } from "../../ca/runtime/node.ts";
import { readConfig } from "../../proxy/config/config.ts";
import type { IdentityPage } from "../../proxy/identity-page.ts";
import { runProxy, type RunningProxy } from "../../proxy/run.ts";
import { countersign } from "../support/command-line.ts";
import { recordedLog } from "../support/recorded-log.ts";

const admin: Caller = { actor: "token:test", name: "test", role: "admin", scope: ["spiffe://east/*"] };
const [hello, world] = ["spiffe://east/hello", "spiffe://east/world"];
let folder: string;
let served: ServedCa;
let app: number;
let echo: number;
const atEnd: (() => unknown)[] = [];
let closing: (() => unknown)[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "countersign-rules-"));
  atEnd.push(() => rmSync(folder, { recursive: true, force: true }));
  served = await serveCa(readCaConfig({ flags: { "data-dir": join(folder, "ca"), "trust-domain": "east", listen: "127.0.0.1:0" } }), pino({ level: "silent" }));
  atEnd.push(() => served.stop());
  app = await listening(createHttpServer((request, response) => response.end(`${request.url} for ${String(request.headers["countersign-client-id"])}`)));
  echo = await listening(createServer((socket) => socket.on("error", () => undefined).pipe(socket)));
});
afterAll(async () => {
  for (const end of atEnd.reverse()) await end();
});
beforeEach(async () => {
  closing = [];
  for (const { name } of (await served.ca.policies.policies()).policies) await served.ca.policies.remove("policy", name, admin);
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
});

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function proxy(spiffeId: string, ...args: readonly string[]): Promise<RunningProxy & { readonly log: ReturnType<typeof recordedLog> }> {
  const { bootstrap = "" } = await served.ca.createToken({ type: "join", spiffeId }, admin);
  return run({ COUNTERSIGN_BOOTSTRAP: bootstrap }, args);
}

async function run(env: Readonly<Record<string, string>>, args: readonly string[]) {
  const log = recordedLog();
  const config = readConfig({ args: ["inbound", "outbound", "admin"].flatMap((name) => [`--${name}`, "127.0.0.1:0"]).concat(args), env });
  const running = await runProxy({ config, log });
  closing.push(() => running.close());
  await vi.waitUntil(async () => (await fetch(`http://${running.admin}/readyz`)).ok, { timeout: 30_000, interval: 20 });
  return { ...running, log };
}

/** The inbound proxy of `world`, and that of `hello`, which names it by a service of the CA; both follow the stream. */
async function pair(target: number, ...args: readonly string[]) {
  const server = await proxy(world, "--app", `127.0.0.1:${target}`, ...args);
  const { hostname, port } = new URL(`http://${server.inbound[0]}`);
  await apply({ services: [{ name: "world", spiffeId: world, addresses: [{ host: hostname, port: Number(port) }] }] });
  const client = await proxy(hello);
  for (const one of [server, client]) await vi.waitUntil(async () => (await pageOf(one)).feed?.followedBy === "stream", { timeout: 30_000, interval: 20 });
  return { server, client };
}

async function pageOf({ admin: address }: RunningProxy): Promise<IdentityPage> {
  return (await (await fetch(`http://${address}/identity`)).json()) as IdentityPage;
}

/** As an operator does it. */
async function apply(documents: { readonly policies?: readonly Policy[]; readonly services?: readonly Service[] }): Promise<void> {
  const file = join(folder, "apply.json");
  writeFileSync(file, JSON.stringify(documents));
  const { exitCode, stderr } = await countersign(["policy", "apply", "-f", file], {
    COUNTERSIGN_URL: served.url, COUNTERSIGN_DATA_DIR: join(folder, "ca"),
  });
  expect([exitCode, exitCode === 0 ? "" : stderr]).toEqual([0, ""]);
}

const shop = (...rules: readonly PolicyRule[]) => ({ policies: [{ name: "shop", workloads: [world], rules }] });
const inForce = (one: RunningProxy, sequence: number) => vi.waitUntil(async () => (await pageOf(one)).policy!.sequence! >= sequence, { timeout: 30_000, interval: 10 });
/** Applies, and waits until the proxy has it. */
async function applied(one: RunningProxy, documents: Parameters<typeof apply>[0]): Promise<void> {
  await apply(documents);
  await inForce(one, (await served.ca.policies.policies()).sequence);
}

/** By the proxy of `hello`, as `http_proxy` has it. */
async function get(client: RunningProxy, path: string): Promise<{ readonly status: number; readonly body: string }> {
  const socket = await opened(client.outbound[0]!);
  socket.write(`GET http://world${path} HTTP/1.1\r\nHost: world\r\nConnection: close\r\n\r\n`);
  const text = await readAll(socket);
  return { status: Number(text.split(" ")[1]), body: text.slice(text.indexOf("\r\n\r\n") + 4) };
}

async function opened(address: string): Promise<Socket> {
  const { hostname, port } = new URL(`http://${address}`);
  const socket = connect({ host: hostname, port: Number(port) }).on("error", () => undefined);
  closing.push(() => socket.destroy());
  await once(socket, "connect");
  return socket;
}

/** A tunnel to `world` that carries bytes. */
async function tunnel(client: RunningProxy): Promise<Socket> {
  const socket = await opened(client.outbound[0]!);
  socket.write("CONNECT world:80 HTTP/1.1\r\nHost: world:80\r\n\r\n");
  await once(socket, "data");
  return socket;
}

async function readAll(socket: Socket): Promise<string> {
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += String(chunk)));
  await closed(socket);
  return text;
}

/** A cut is a reset, so an error comes before. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => (socket.destroyed ? resolve() : void socket.once("close", () => resolve())));
}

test("an applied policy allows and denies requests by the name of its rule, and deny wins", async () => {
  const { server, client } = await pair(app);
  expect(await get(client, "/items/1")).toEqual({ status: 200, body: `/items/1 for ${hello}` });
  await applied(server, shop({ name: "read", action: "allow", from: [hello], methods: ["GET"], paths: ["/items/*"] }));
  expect((await get(client, "/items/1")).status).toBe(200);
  const denied = await get(client, "/admin");
  expect([denied.status, denied.body]).toEqual([403, expect.stringContaining("none of their rules allows this")]);
  await applied(server, shop({ name: "read", action: "allow", from: [hello] }, { name: "no-admin", action: "deny", from: ["*"], paths: ["/admin/*"] }));
  expect((await get(client, "/items/1")).status).toBe(200);
  expect((await get(client, "/admin/users")).body).toContain("rule shop/no-admin does not let spiffe://east/hello do this");
});

test("a change cuts live connections that it no longer allows, and no others", async () => {
  const { server, client } = await pair(echo, "--inbound-protocol", "tcp");
  await applied(server, shop({ name: "in", action: "allow", from: [hello] }));
  const live = await tunnel(client);
  live.write("ping");
  expect(String((await once(live, "data"))[0])).toBe("ping");
  await applied(server, shop({ name: "in", action: "allow", from: [hello, "spiffe://east/web"] }));
  live.write("still");
  expect(String((await once(live, "data"))[0])).toBe("still");
  const cut = closed(live);
  await apply(shop({ name: "out", action: "deny", from: [hello] }));
  await cut;
  expect(server.log.lines.find(({ message }) => message === "connection cut")?.fields).toMatchObject({ peerId: hello, reason: "policy_denied" });
  const refused = await tunnel(client);
  refused.write("ping");
  expect(await readAll(refused)).toBe("");
});

test("audit mode lets through what it would deny, and says so", async () => {
  const { server, client } = await pair(app, "--inbound-mode", "audit");
  await applied(server, shop({ name: "nobody", action: "deny", from: ["*"] }));
  expect((await get(client, "/items/1")).status).toBe(200);
  expect(await (await fetch(`http://${server.admin}/metrics`)).text()).toMatch(/inbound_policy_would_deny_total\{[^}]*rule="shop\/nobody"[^}]*\} 1/);
  expect(server.log.text()).toContain("let through, as the mode is audit");
});

// Last, since it stops the CA.
test("a proxy that starts again while the CA is away enforces what it knew, and lets nobody in if it knew nothing", async () => {
  const args = ["--state-dir", join(folder, "world"), "--app", `127.0.0.1:${app}`];
  const { bootstrap = "" } = await served.ca.createToken({ type: "join", spiffeId: world }, admin);
  const first = await run({ COUNTERSIGN_BOOTSTRAP: bootstrap }, args);
  await applied(first, shop({ name: "read", action: "allow", from: [hello], paths: ["/items/*"] }));
  first.close();
  await served.stop();
  const again = await run({}, args);
  expect((await pageOf(again)).policy).toMatchObject({ policies: ["shop"] });
  again.close();
  rmSync(join(folder, "world", "policy.json"));
  const ignorant = await runProxy({
    config: readConfig({ args: ["--inbound", "127.0.0.1:0", "--outbound", "off", "--admin", "127.0.0.1:0", ...args], env: {} }), log: recordedLog(),
  });
  closing.push(() => ignorant.close());
  const readiness = await fetch(`http://${ignorant.admin}/readyz`);
  expect([readiness.status, await readiness.text()]).toEqual([503, expect.stringContaining("not known yet who may call this workload")]);
});
