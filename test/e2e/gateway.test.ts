import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { startMesh, type Mesh, type MeshProxy } from "../support/mesh.ts";
import { httpApp } from "../support/tcp.ts";

/** Two clusters, and the gateway of the second, which is the program: it has no key, no identity and no CA. */
const meshes: Mesh[] = [];
let east: Mesh;
let west: Mesh;
let hello: MeshProxy;
let world: MeshProxy;
let bank: MeshProxy;
let gateway: { readonly child: ChildProcess; readonly listen: string; readonly admin: string };

beforeAll(async () => {
  [east, west] = await Promise.all(["east", "west"].map(async (trustDomain) => {
    const mesh = await startMesh({ trustDomain, flags: { "bundle-refresh-hint": "1s", "federation-settle": "200ms" } });
    meshes.push(mesh);
    return mesh;
  })) as [Mesh, Mesh];
  const { invitation } = await west.served.ca.federation.invite({}, west.admin);
  await east.served.ca.federation.accept(invitation, east.admin);
  const app = await httpApp((asked, response) => response.end(`to ${String(asked.headers["countersign-client-id"])}`));
  west.atEnd(() => app.close());
  [world, bank] = await Promise.all(["world", "bank"].map((name) => west.proxy(name, "--app", `127.0.0.1:${app.port}`, "--outbound", "off"))) as [MeshProxy, MeshProxy];
  await west.served.ca.policies.apply({ policies: ["world", "bank"].map((name) => ({ name, workloads: [`spiffe://west/${name}`], rules: [{ action: "allow", from: ["spiffe://east/hello"] }] })) }, west.admin);
  gateway = await startGateway({ "world.default.west": world.inbound[0]!, "mixed-up.default.west": bank.inbound[0]! });
  const [host = "", port = ""] = gateway.listen.split(":");
  const address = { host, port: Number(port) };
  // As east's operator lists west's services: who must answer, and by which way.
  await east.served.ca.policies.apply({
    services: ["world", "mixed-up", "unknown"].map((name) => ({ name: `${name}.default.west`, spiffeId: "spiffe://west/world", addresses: [address] })),
  }, east.admin);
  hello = await east.proxy("hello", "--inbound", "off");
}, 120_000);
afterAll(async () => {
  for (const mesh of meshes.reverse()) await mesh.close();
});

test("a call by a name of the other cluster goes through its gateway, and carries the caller's identity end to end", async () => {
  await vi.waitFor(async () => expect(await ask("world.default.west")).toEqual({ status: 200, body: "to spiffe://east/hello" }), { timeout: 30_000, interval: 200 });
  expect((await world.edges()).some(({ clientId, secured }) => clientId === "spiffe://east/hello" && secured)).toBe(true);
  expect((await hello.edges()).some(({ serverId, secured }) => serverId === "spiffe://west/world" && secured)).toBe(true);
  expect(await metricsOf(gateway)).toMatch(/gateway_connections_total\{route="world\.default\.west"\} [1-9]/);
}, 60_000);

test("a gateway that leads to another workload is found out by the caller, whatever that workload allows", async () => {
  expect((await ask("mixed-up.default.west")).status).toBeGreaterThanOrEqual(500);
  expect(await metricsOf(gateway)).toMatch(/gateway_connections_total\{route="mixed-up\.default\.west"\} [1-9]/);
  expect((await bank.edges()).filter(({ clientId }) => clientId === "spiffe://east/hello")).toEqual([]);
});

test("a name without a route, and a gateway that is gone, fail closed", async () => {
  expect((await ask("unknown.default.west")).status).toBeGreaterThanOrEqual(500);
  expect(await metricsOf(gateway)).toMatch(/gateway_refused_total\{reason="no_route"\} [1-9]/);
  const exited = once(gateway.child, "exit");
  gateway.child.kill("SIGKILL");
  await exited;
  await vi.waitFor(async () => expect((await ask("world.default.west")).status).toBeGreaterThanOrEqual(500), { timeout: 30_000, interval: 200 });
}, 60_000);

async function startGateway(routes: Readonly<Record<string, string>>): Promise<typeof gateway> {
  const args = Object.entries(routes).flatMap(([name, address]) => ["--route", `${name}=${address}`]);
  const child = spawn(process.execPath, [fileURLToPath(new URL("../../proxy/main.ts", import.meta.url)), "gateway", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", ...args], { env: {}, stdio: ["ignore", "ignore", "pipe"] });
  west.atEnd(() => child.kill("SIGKILL"));
  const [line] = await once(child.stderr.setEncoding("utf8"), "data") as [string];
  const { listen, admin } = JSON.parse(line) as { listen: string; admin: string };
  return { child, listen, admin };
}

const metricsOf = async ({ admin }: { readonly admin: string }): Promise<string> => (await fetch(`http://${admin}/metrics`)).text();

/** Asks as the app beside hello does. */
async function ask(host: string): Promise<{ readonly status: number; readonly body: string }> {
  const asked = request(`http://${hello.outbound[0]}/`, { headers: { host }, agent: false }).end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: await text(response) };
}
