import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { federatedCa } from "../../ca/contract/authorities.ts";
import { parseBundle } from "../../ca/pki/bundle.ts";
import { askInbound } from "../../infra/demo/strangers.ts";
import { countersign, type Ran } from "../support/command-line.ts";
import { startMesh, type Mesh, type MeshProxy } from "../support/mesh.ts";
import { auditEvents } from "../support/running-ca.ts";
import { httpApp } from "../support/tcp.ts";
import { testAuthority } from "../support/test-ca.ts";

/** What a minute is by default. */
const quick = { "bundle-refresh-hint": "1s", "federation-settle": "200ms" };
/** West's own, whose key the test has: what west's operator could sign. */
const rootOfWest = testAuthority({ trustDomain: "west" });
const meshes: Mesh[] = [];
let [east, west, north]: Mesh[] = [];
let hello: MeshProxy;
let stranger: MeshProxy;
let world: MeshProxy;

beforeAll(async () => {
  north = await mesh("north");
  const [cert, key] = [join(north.folder, "west.pem"), join(north.folder, "west.key")];
  writeFileSync(cert, rootOfWest.pem);
  writeFileSync(key, rootOfWest.privateKey.export({ format: "pem", type: "pkcs8" }), { mode: 0o600 });
  west = await mesh("west", { "root-cert": cert, "root-key": key });
  east = await mesh("east");
  const app = await httpApp((asked, response) => {
    asked.resume();
    response.end(`to ${String(asked.headers["l5d-client-id"] ?? asked.headers["countersign-client-id"])}`);
  });
  west.atEnd(() => app.close());
  world = await west.proxy("world", "--app", `127.0.0.1:${app.port}`, "--outbound", "off");
  // North was given west's bundle by hand; that west has none of north's is what counts.
  const bundle = join(north.folder, "west.json");
  writeFileSync(bundle, west.served.ca.bundle().jwks);
  hello = await east.proxy("hello", "--inbound", "off", "--route", `world=${world.inbound[0]},spiffe://west/world`);
  stranger = await north.proxy("hello", "--inbound", "off", "--foreign-bundle", `west=${bundle}`, "--route", `world=${world.inbound[0]},spiffe://west/world`);
}, 120_000);
afterAll(async () => {
  for (const one of meshes.reverse()) await one.close();
});

test("two CAs are federated by one string, both show the same fingerprints, and both have it in their audit logs", async () => {
  expect(await ask(hello)).toBeGreaterThanOrEqual(500);
  const invited = await run(west!, "federation", "invite");
  const accepted = await run(east!, "federation", "accept", invited.stdout.trim());
  expect([accepted.exitCode, accepted.stdout]).toEqual([0, `east\n  ${rootsOf(east!).join("\n  ")}\nwest\n  ${rootsOf(west!).join("\n  ")}\n`]);
  expect(invited.stderr).toContain(rootsOf(west!)[0]);
  for (const [here, there] of [[east, west], [west, east]] as const) {
    expect((await run(here!, "federation", "show", nameOf(there!))).stdout).toContain(rootsOf(there!)[0]);
    const events = await auditEvents(here!.served.ca.store);
    expect(events.filter(({ type, name }) => (type === "federation.changed" || type === "foreign-bundle.changed") && name === nameOf(there!)).length).toBeGreaterThanOrEqual(2);
    expect(JSON.stringify(events)).not.toContain(invited.stdout.trim());
  }
}, 60_000);

test("a call from east is refused as long as no policy of west allows it, and carries east's identity from then on", async () => {
  await vi.waitFor(() => expect(world.log.text()).toContain('"trustDomain":"east"'), { timeout: 20_000 });
  expect(await ask(hello)).not.toBe(200);
  await allow(["spiffe://east/hello", "spiffe://north/hello"]);
  await vi.waitFor(async () => expect(await ask(hello)).toBe(200), { timeout: 20_000, interval: 200 });
  expect((await world.edges()).some(({ clientId, secured }) => clientId === "spiffe://east/hello" && secured)).toBe(true);
}, 60_000);

test("north, whose bundle west does not have, is refused though a policy names it", async () => {
  expect(await ask(stranger)).toBeGreaterThanOrEqual(500);
  expect(await world.metrics()).toMatch(/inbound_refused_total\{reason="svid_trust_domain_unknown"\} [1-9]/);
});

test("FE-21: a certificate for spiffe://east/hello by west's own root is refused by west, which is good for west made the same way", async () => {
  const port = Number(world.inbound[0]!.split(":").at(-1));
  await allow(["spiffe://east/hello", "spiffe://west/hello"]);
  const presented = (spiffeId: string) => {
    const leaf = rootOfWest.leaf({ spiffeId });
    return askInbound(port, { cert: leaf.chainPem, key: leaf.privateKeyPem });
  };
  await vi.waitFor(async () => expect(await presented("spiffe://west/hello")).toContain("200 OK"), { timeout: 20_000, interval: 200 });
  expect(await presented("spiffe://east/hello")).toBe("");
}, 60_000);

test("FE-22, FE-23: east's root is replaced under traffic: it waits for west, and no request fails", async () => {
  let [asked, failed, done] = [0, 0, false];
  const traffic = (async () => {
    while (!done || asked <= 10) {
      asked += 1;
      if (await ask(hello) !== 200) failed += 1;
    }
  })();
  const before = rootsOf(east!)[0];
  const { authorities } = await east!.served.ca.operateAuthority({ action: "rotate", type: "root" }, east!.admin);
  const prepared = authorities.find(({ type, state }) => type === "root" && state === "prepared");
  const waits = (await east!.served.ca.authorities()).find(({ id }) => id === prepared?.id)?.waitsFor?.holders;
  expect(waits).toContainEqual(expect.objectContaining({ spiffeId: "spiffe://west/countersign/ca", serialNumber: federatedCa }));
  await vi.waitFor(async () => {
    await east!.served.ca.tick();
    expect((await east!.served.ca.authorities()).find(({ id }) => id === prepared?.id)?.state).toBe("active");
  }, { timeout: 60_000, interval: 500 });
  const late = await east!.proxy("late", "--inbound", "off", "--route", `world=${world.inbound[0]},spiffe://west/world`);
  await allow(["spiffe://east/*"]);
  await vi.waitFor(async () => expect(await ask(late)).toBe(200), { timeout: 20_000, interval: 200 });
  done = true;
  await traffic;
  expect(rootsOf(east!)).toHaveLength(2);
  expect(rootsOf(east!)[0]).toBe(before);
  expect(failed).toBe(0);
}, 120_000);

test("FE-26: removing east cuts its live connection at once, as the proxies are told and do not have to ask, and lets nobody of it in", async () => {
  const live = await tunnel(hello);
  const told = await count(world, federationEvents);
  // A reset is a cut like any other.
  const cut = new Promise((resolve) => live.on("error", () => undefined).once("close", resolve));
  expect((await run(west!, "federation", "remove", "east")).exitCode).toBe(0);
  // A second on a machine that has nothing else to do; nothing else would end it within this time.
  expect(await Promise.race([cut.then(() => "cut"), delay(10_000, "still open")])).toBe("cut");
  expect(await count(world, federationEvents)).toBeGreaterThan(told);
  // As long as there is a stream, nothing is asked for.
  expect(await count(world, /^feed_streamed (\d+)$/m)).toBe(1);
  expect(await ask(hello)).toBeGreaterThanOrEqual(500);
  expect((await run(west!, "federation", "list")).stdout).not.toContain("east");
}, 60_000);

const federationEvents = /^feed_events_total\{event="federation"\} (\d+)$/m;

async function count(proxy: MeshProxy, metric: RegExp): Promise<number> {
  return Number(metric.exec(await proxy.metrics())?.[1] ?? 0);
}

async function mesh(trustDomain: string, flags: Readonly<Record<string, string>> = {}): Promise<Mesh> {
  const started = await startMesh({ trustDomain, flags: { ...quick, ...flags } });
  meshes.push(started);
  return started;
}

function run({ served, folder }: Mesh, ...args: readonly string[]): Promise<Ran> {
  return countersign(args, { COUNTERSIGN_URL: served.url, COUNTERSIGN_DATA_DIR: join(folder, "ca") });
}

const nameOf = ({ served }: Mesh): string => served.ca.trustDomain;

function rootsOf({ served }: Mesh): readonly string[] {
  return parseBundle(served.ca.trustDomain, served.ca.bundle().jwks).x509Authorities.map(({ fingerprint }) => fingerprint);
}

async function allow(from: readonly string[]): Promise<void> {
  await west!.served.ca.policies.apply({ policies: [{ name: "world", workloads: ["spiffe://west/world"], rules: [{ action: "allow", from }] }] }, west!.admin);
}

/** Asks as the proxy's app does. @returns the status */
async function ask(proxy: MeshProxy): Promise<number> {
  const asked = request(`http://${proxy.outbound[0]}/`, { headers: { host: "world" }, agent: false }).end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  await once(response.resume(), "end");
  return response.statusCode ?? 0;
}

/** A connection through both proxies that stays open. */
async function tunnel(proxy: MeshProxy): Promise<Socket> {
  const [host, port] = proxy.outbound[0]!.split(":");
  const socket = connect({ host: host!, port: Number(port) });
  socket.write("CONNECT world:80 HTTP/1.1\r\nhost: world:80\r\n\r\n");
  const [answer] = (await once(socket, "data")) as [Buffer];
  expect(answer.toString()).toContain(" 200 ");
  socket.write("GET / HTTP/1.1\r\nhost: world\r\n\r\n");
  expect(String((await once(socket, "data"))[0])).toContain("200 OK");
  return socket.resume();
}
