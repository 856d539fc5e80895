import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { federatedCa } from "../../ca/contract/authorities.ts";
import { bundleEndpoint, type BundleEndpoint } from "../support/bundle-endpoint.ts";
import { countersign, type Ran } from "../support/command-line.ts";
import { startMesh, type Mesh, type MeshProxy } from "../support/mesh.ts";
import { httpApp } from "../support/tcp.ts";
import { dns, testAuthority } from "../support/test-ca.ts";

/** East and west, joined by a hub alone: a folder that a web server shows. */
const folder = mkdtempSync(join(tmpdir(), "countersign-e2e-hub-"));
const place = join(folder, "fleet");
const web = testAuthority({ trustDomain: "web.example" });
const waiting = { timeout: 30_000, interval: 200 };
let server: BundleEndpoint;
let subscription: string;
let [east, west]: Mesh[] = [];
let [hello, world]: MeshProxy[] = [];

beforeAll(async () => {
  mkdirSync(place);
  const roots = join(folder, "web.pem");
  writeFileSync(roots, web.pem);
  server = await bundleEndpoint(web.leaf({ names: [dns("localhost")] }), "");
  server.answer = ({ url = "" }, response) => {
    try {
      response.end(readFileSync(join(place, url.slice("/fleet/".length))));
    } catch {
      response.writeHead(404).end();
    }
  };
  const made = await owner("create", place, "--hub-url", `https://localhost:${server.port}/fleet/`);
  subscription = made.stdout.trim();
  const flags = { "bundle-refresh-hint": "1s", "federation-settle": "200ms", "federation-web-roots": roots, "federation-hub": place };
  [east, west] = await Promise.all([startMesh({ trustDomain: "east", flags }), startMesh({ trustDomain: "west", flags })]);
  await owner("admit", ...[east, west].map(({ served }) => served.ca.federation.hubKey));
  await vi.waitFor(() => ["east", "west"].map((name) => readFileSync(join(place, `${name}.bundle.note`))), waiting);
  for (const mesh of [east, west]) await run(mesh, "federation", "subscribe", subscription);
  const app = await httpApp((asked, response) => {
    asked.resume();
    response.end("here");
  });
  west.atEnd(() => app.close());
  await west.served.ca.policies.apply({ policies: [{ name: "world", workloads: ["spiffe://west/world"], rules: [{ action: "allow", from: ["spiffe://east/*"] }] }] }, west.admin);
  world = await west.proxy("world", "--app", `127.0.0.1:${app.port}`, "--outbound", "off");
  hello = await east.proxy("hello", "--inbound", "off", "--route", `world=${world.inbound[0]},spiffe://west/world`);
  await vi.waitFor(async () => expect(await ask()).toBe(200), waiting);
}, 120_000);
afterAll(async () => {
  for (const one of [east, west]) await one?.close();
  await server.close();
  rmSync(folder, { recursive: true });
});

test("FE-22: a root of west waits for east, which it knows by a hub alone, and takes over once east says there that its proxies have it", async () => {
  const root = async () => (await west!.served.ca.authorities()).find(({ id }) => id === prepared?.id);
  // East has said that it has west's bundle.
  await vi.waitFor(async () => expect((await west!.served.ca.federation.get("east")).acknowledged).toBeDefined(), waiting);
  const { authorities } = await west!.served.ca.operateAuthority({ action: "rotate", type: "root" }, west!.admin);
  const prepared = authorities.find(({ type, state }) => type === "root" && state === "prepared");
  expect((await root())?.waitsFor?.holders).toContainEqual(expect.objectContaining({ spiffeId: "spiffe://east/countersign/ca", serialNumber: federatedCa }));
  await vi.waitFor(async () => {
    await west!.served.ca.tick();
    expect((await root())?.state).toBe("active");
  }, { timeout: 60_000, interval: 500 });
  expect(await ask()).toBe(200);
}, 120_000);

test("FE-26: who is expelled from a hub loses its live connections as soon as the others read the list, and is let in nowhere", async () => {
  const live = await tunnel();
  expect((await owner("expel", "east")).exitCode).toBe(0);
  // The look that each takes within a minute.
  await run(west!, "federation", "subscribe", subscription);
  expect(await ending(live)).toBe("cut");
  expect(await ask()).toBeGreaterThanOrEqual(500);
}, 60_000);

test("FE-26: who leaves a hub cuts the live connections of all that came by it", async () => {
  await owner("admit", east!.served.ca.federation.hubKey);
  await run(west!, "federation", "subscribe", subscription);
  await vi.waitFor(async () => expect(await ask()).toBe(200), waiting);
  const live = await tunnel();
  expect((await run(west!, "federation", "unsubscribe", "localhost")).exitCode).toBe(0);
  expect(await ending(live)).toBe("cut");
  expect(await ask()).toBeGreaterThanOrEqual(500);
}, 60_000);

const owner = (...args: readonly string[]): Promise<Ran> => countersign(["federation", "hub", ...args, "--hub-file", join(folder, "hub.json")], {});

function run({ served, folder: home }: Mesh, ...args: readonly string[]): Promise<Ran> {
  return countersign(args, { COUNTERSIGN_URL: served.url, COUNTERSIGN_DATA_DIR: join(home, "ca") });
}

/** Asks as the proxy's app does. @returns the status */
async function ask(): Promise<number> {
  const asked = request(`http://${hello!.outbound[0]}/`, { headers: { host: "world" }, agent: false }).end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  await once(response.resume(), "end");
  return response.statusCode ?? 0;
}

/** A connection through both proxies that stays open. */
async function tunnel(): Promise<Socket> {
  const [host, port] = hello!.outbound[0]!.split(":");
  const socket = connect({ host: host!, port: Number(port) });
  socket.write("CONNECT world:80 HTTP/1.1\r\nhost: world:80\r\n\r\n");
  const [answer] = (await once(socket, "data")) as [Buffer];
  expect(answer.toString()).toContain(" 200 ");
  socket.write("GET / HTTP/1.1\r\nhost: world\r\n\r\n");
  expect(String((await once(socket, "data"))[0])).toContain("200 OK");
  // A reset is a cut like any other.
  return socket.on("error", () => undefined).resume();
}

/** A second on a machine that has nothing else to do; nothing else would end it within this time. */
async function ending(live: Socket): Promise<string> {
  if (live.destroyed) return "cut";
  return Promise.race([new Promise<string>((resolve) => live.once("close", () => resolve("cut"))), delay(10_000, "still open")]);
}
