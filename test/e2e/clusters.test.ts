import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { parseBundle } from "../../ca/pki/bundle.ts";
import { askInbound } from "../../infra/demo/strangers.ts";
import { forgedBy, stolenIssuer } from "../support/clusters.ts";
import { countersign, type Ran } from "../support/command-line.ts";
import { startMesh, type Mesh, type MeshProxy } from "../support/mesh.ts";
import { httpApp } from "../support/tcp.ts";

/** What a minute is by default. */
const quick = { "bundle-refresh-hint": "1s", "federation-settle": "200ms" };
const meshes: Mesh[] = [];
let [root, east, west]: Mesh[] = [];
let hello: MeshProxy;
/** One in each. */
let worlds: readonly MeshProxy[];

beforeAll(async () => {
  root = await start("root.example");
  [east, west] = [await under("east.example"), await under("west.example")];
  for (const [here, there] of [[east, west], [root, west], [root, east]] as const) {
    const { stdout } = await run(here!, "federation", "invite");
    expect((await run(there!, "federation", "accept", stdout.trim())).exitCode).toBe(0);
  }
  const app = await httpApp((asked, response) => {
    asked.resume();
    response.end("here");
  });
  root.atEnd(() => app.close());
  worlds = [];
  for (const mesh of [root, east, west]) {
    await mesh!.served.ca.policies.apply({ policies: [{ name: "world", workloads: [`spiffe://${nameOf(mesh!)}/world`], rules: [{ action: "allow", from: ["spiffe://root.example/*", "spiffe://east.example/*", "spiffe://west.example/*"] }] }] }, mesh!.admin);
    worlds = [...worlds, await mesh!.proxy("world", "--app", `127.0.0.1:${app.port}`, "--outbound", "off")];
  }
  hello = await east!.proxy("hello", "--inbound", "off", "--route", `world=${worlds[2]!.inbound[0]},spiffe://west.example/world`);
}, 120_000);
afterAll(async () => {
  for (const one of meshes.reverse()) await one.close();
});

test("two clusters under one root call each other by identity, though their anchors are the same", async () => {
  expect(new Set([root, east, west].flatMap((mesh) => rootsOf(mesh!))).size).toBe(1);
  await vi.waitFor(async () => expect(await ask()).toBe(200), { timeout: 20_000, interval: 200 });
  expect((await worlds[2]!.edges()).some(({ clientId, secured }) => clientId === "spiffe://east.example/hello" && secured)).toBe(true);
}, 60_000);

test("BF-15: though the root is shared, what east's issuer signs for west is refused by the proxies of west, of east and of the parent, which take the same by west's issuer", async () => {
  const [byEast, byWest] = [await stolenIssuer(placeOf(east!)), await stolenIssuer(placeOf(west!))];
  for (const world of worlds) {
    const presented = (issuer: typeof byEast, spiffeId: string) => askInbound(Number(world.inbound[0]!.split(":").at(-1)), forgedBy(issuer, spiffeId, Date.now()).credentials);
    await vi.waitFor(async () => expect(await presented(byWest, "spiffe://west.example/hello")).toContain("200 OK"), { timeout: 20_000, interval: 200 });
    expect(await presented(byEast, "spiffe://west.example/hello")).toBe("");
    expect(await world.metrics()).toMatch(/inbound_refused_total\{reason="path_name_constraint_violated"\} 1/);
  }
}, 60_000);

test("east's issuer and the parent's root are replaced under traffic, and no request fails", async () => {
  let [asked, failed, done] = [0, 0, false];
  const traffic = (async () => {
    while (!done || asked <= 10) {
      asked += 1;
      if (await ask() !== 200) failed += 1;
    }
  })();
  const before = rootsOf(west!)[0];
  expect((await run(east!, "authority", "rotate")).exitCode).toBe(0);
  const { authorities } = await root!.served.ca.operateAuthority({ action: "rotate", type: "root" }, root!.admin);
  const prepared = authorities.find(({ type, state }) => type === "root" && state === "prepared")!.id;
  const waitsFor = (await root!.served.ca.authorities()).find(({ id }) => id === prepared)?.waitsFor?.holders.map(({ spiffeId }) => spiffeId);
  expect(waitsFor).toEqual(expect.arrayContaining(["spiffe://root.example/cluster/east.example", "spiffe://root.example/cluster/west.example"]));
  await vi.waitFor(async () => {
    await root!.served.ca.tick();
    expect((await root!.served.ca.authorities()).find(({ id }) => id === prepared)?.state).toBe("active");
  }, { timeout: 60_000, interval: 500 });
  for (const mesh of [east!, west!]) {
    expect(rootsOf(mesh)).toHaveLength(2);
    expect((await run(mesh, "authority", "rotate")).exitCode).toBe(0);
    const list = await mesh.served.ca.authorities();
    expect(list.find(({ type, state }) => type === "issuer" && state === "active")?.parentId).toBe(prepared);
  }
  const late = await east!.proxy("late", "--inbound", "off", "--route", `world=${worlds[2]!.inbound[0]},spiffe://west.example/world`);
  await vi.waitFor(async () => expect(await ask(late)).toBe(200), { timeout: 20_000, interval: 200 });
  done = true;
  await traffic;
  expect(rootsOf(west!)[0]).toBe(before);
  expect(failed).toBe(0);
}, 120_000);

test("an issuer of east that the parent revokes is refused in west, too; east gets another one, and its workloads with it", async () => {
  const stolen = await stolenIssuer(placeOf(east!));
  const asThief = () => askInbound(Number(worlds[2]!.inbound[0]!.split(":").at(-1)), forgedBy(stolen, "spiffe://east.example/hello", Date.now()).credentials);
  expect(await asThief()).toContain("200 OK");
  expect((await run(root!, "issuer", "revoke", stolen.certificate.serialNumber, "--reason", "keyCompromise")).exitCode).toBe(0);
  await vi.waitFor(async () => expect(await asThief()).toBe(""), { timeout: 20_000, interval: 200 });
  await vi.waitFor(async () => expect((await east!.served.ca.authorities()).filter(({ type, state }) => type === "issuer" && state === "active").map(({ id }) => id)).not.toContain(stolen.id), { timeout: 20_000, interval: 200 });
  const anew = await east!.proxy("anew", "--inbound", "off", "--route", `world=${worlds[2]!.inbound[0]},spiffe://west.example/world`);
  await vi.waitFor(async () => expect(await ask(anew)).toBe(200), { timeout: 20_000, interval: 200 });
}, 60_000);

test("while the parent is away, clusters go on, and say so", async () => {
  await root!.served.stop();
  expect(await ask(await east!.proxy("later", "--inbound", "off", "--route", `world=${worlds[2]!.inbound[0]},spiffe://west.example/world`))).toBe(200);
  const refused = await run(east!, "authority", "rotate");
  expect([refused.exitCode, refused.stderr]).toEqual([1, expect.stringContaining("issuer_unavailable")]);
  await vi.waitFor(async () => expect((await east!.served.ca.readiness()).warnings?.join()).toContain("root.example"), { timeout: 20_000, interval: 200 });
  expect((await east!.served.ca.readiness()).ready).toBe(true);
}, 60_000);

async function start(trustDomain: string, flags: Readonly<Record<string, string>> = {}): Promise<Mesh> {
  const started = await startMesh({ trustDomain, flags: { ...quick, ...flags } });
  meshes.push(started);
  return started;
}

/** As its operator does it: one string from there, in a file here. */
async function under(trustDomain: string): Promise<Mesh> {
  const file = join(root!.folder, `${trustDomain}.join`);
  const { stdout } = await run(root!, "issuer", "invite", "--trust-domain", trustDomain);
  writeFileSync(file, stdout, { mode: 0o600 });
  return start(trustDomain, { "upstream-file": file });
}

function run({ served, folder }: Mesh, ...args: readonly string[]): Promise<Ran> {
  return countersign(args, { COUNTERSIGN_URL: served.url, COUNTERSIGN_DATA_DIR: join(folder, "ca") });
}

const nameOf = ({ served }: Mesh): string => served.ca.trustDomain;
const placeOf = ({ served, folder }: Mesh) => ({ store: served.ca.store, dataDir: join(folder, "ca") });

function rootsOf({ served }: Mesh): readonly string[] {
  return parseBundle(served.ca.trustDomain, served.ca.bundle().jwks).x509Authorities.map(({ fingerprint }) => fingerprint);
}

/** Asks as the proxy's app does. @returns the status */
async function ask(proxy: MeshProxy = hello): Promise<number> {
  const asked = request(`http://${proxy.outbound[0]}/`, { headers: { host: "world" }, agent: false }).end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  await once(response.resume(), "end");
  return response.statusCode ?? 0;
}
