import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { EdgeList } from "../../ca/contract/edges.ts";
import { dispatch } from "../../ca/cli/dispatch.ts";
import { tap } from "../../ca/cli/tap.ts";
import { top } from "../../ca/cli/top.ts";
import { countersign } from "../support/command-line.ts";
import { startMesh, type Mesh, type MeshProxy } from "../support/mesh.ts";
import { httpApp } from "../support/tcp.ts";

let mesh: Mesh;
let hello: MeshProxy;
let world: MeshProxy;
let env: Record<string, string>;

beforeAll(async () => {
  mesh = await startMesh();
  env = { COUNTERSIGN_URL: mesh.served.url, COUNTERSIGN_DATA_DIR: join(mesh.folder, "ca"), LANG: "C.UTF-8" };
  const app = await httpApp((request, response) => {
    request.resume();
    response.statusCode = request.url?.startsWith("/missing") ? 404 : 200;
    response.end("hello");
  });
  mesh.atEnd(() => app.close());
  // All that has metrics of its own.
  const everythingOn = [
    "--access-log", join(mesh.folder, "access.log"), "--otlp-endpoint", "http://127.0.0.1:1", "--write-dir", join(mesh.folder, "tls"), "--on-renewal", "true",
    "--workload-socket", join(mesh.folder, "workload.sock"),
  ];
  world = await mesh.proxy("world", "--app", `127.0.0.1:${app.port}`, "--outbound", "off", ...everythingOn);
  hello = await mesh.proxy("hello", "--inbound", "off", "--transparent", "127.0.0.1:0", "--route", `world=${world.inbound[0]},spiffe://east/world`);
}, 60_000);
afterAll(() => mesh.close());

/** Asks as the app of hello does. @returns the status */
async function ask(path: string, headers: Readonly<Record<string, string>> = {}): Promise<number> {
  const asked = request(`http://${hello.outbound[0]}${path}`, { headers: { host: "world", ...headers }, agent: false }).end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  await once(response.resume(), "end");
  return response.statusCode ?? 0;
}

test("countersign edges shows who talks to whom, as both sides reported it", async () => {
  expect(await ask("/")).toBe(200);
  await vi.waitFor(async () => {
    const { stdout } = await countersign(["edges", "-o", "json"], env);
    const { edges, proxies } = JSON.parse(stdout) as EdgeList;
    expect([proxies, edges]).toMatchObject([2, [{ clientId: "spiffe://east/hello", serverId: "spiffe://east/world", secured: true, seenBy: ["client", "server"] }]]);
  }, { timeout: 30_000, interval: 500 });
  const { stdout, stderr, exitCode } = await countersign(["edges"], env);
  expect([exitCode, stdout]).toEqual([0, "SRC         DST         SECURED\neast/hello  east/world  √ mutual TLS\n"]);
  expect(stderr).toBe("2 proxies reported lately.\n");
}, 60_000);

test("the table of metrics in proxy/README.md has every one, with its labels, and no other (UPDATE_README=1 writes it)", () => {
  const all = new Map([hello, world].flatMap(({ registry }) => registry.describe()).map((metric) => [metric.name, metric]));
  const rows = [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1)).map(({ name, type, labelNames, help }) => (
    `| \`${name}\` | ${type} | ${labelNames.map((label) => `\`${label}\``).join(", ")} | ${help.replace(/\.$/, "")} |\n`
  ));
  const table = `| metric | type | labels | what |\n| --- | --- | --- | --- |\n${rows.join("")}`;
  const path = new URL("../../proxy/README.md", import.meta.url);
  const readme = readFileSync(path, "utf8");
  const [, before = "", held, after = ""] = /^([^]*<!-- metrics -->\n)([^]*?)(<!-- \/metrics -->[^]*)$/.exec(readme) ?? [];
  if (process.env["UPDATE_README"] === "1") return writeFileSync(path, before + table + after);
  expect(held, "write it anew with UPDATE_README=1 npm test -- test/e2e/seeing.test.ts").toBe(table);
});

test("both proxies count the request by pair, with its latency", async () => {
  for (const [proxy, direction] of [[hello, "outbound"], [world, "inbound"]] as const) {
    expect(await proxy.metrics()).toMatch(new RegExp(
      `response_latency_ms_count\\{direction="${direction}",tls="true",client_id="spiffe://east/hello",server_id="spiffe://east/world",no_tls_reason="",protocol="http"\\} [1-9]`,
    ));
  }
});

test("/tap of a proxy shows a request that passes, with both identities", async () => {
  const tapped = await fetch(`http://${world.admin}/tap?limit=1`);
  expect(await ask("/missing?token=hunter2", { authorization: "Bearer hunter2" })).toBe(404);
  const [line = ""] = (await tapped.text()).split("\n");
  expect(JSON.parse(line)).toMatchObject({
    direction: "inbound", method: "GET", path: "/missing", status: 404, clientId: "spiffe://east/hello", serverId: "spiffe://east/world", tls: true, protocol: "http", whole: true,
  });
  expect(line).not.toContain("hunter2");
});

test("countersign tap shows an admin live requests of a workload, through the CA, and the audit log says so", async () => {
  let stdout = "";
  const tapping = dispatch(["tap", world.spiffeId, "--path", "/items", "--limit", "2"], { stdout: (text) => void (stdout += text), stderr: () => undefined, env });
  await vi.waitFor(() => expect(world.log.text()).toContain("an operator of the CA looks"), { timeout: 30_000, interval: 50 });
  await ask("/other");
  await ask("/items/1?token=hunter2", { authorization: "Bearer hunter2" });
  await ask("/items/2");
  expect(await tapping).toBe(0);
  expect(stdout).toMatch(/^\S+ in  GET \/items\/1 200 \d+\.\dms east\/hello > east\/world tls=true\n\S+ in  GET \/items\/2 200 .*\n$/);
  expect(stdout).not.toContain("hunter2");
  const audited = await mesh.served.ca.store.entries({ start: 0, limit: 1000 });
  expect(audited.filter(({ body }) => body.includes('"type":"tap.started"') && body.includes(world.spiffeId))).toHaveLength(1);
}, 60_000);

test("countersign top adds a workload's live requests up", async () => {
  let stdout = "";
  const before = world.log.text().split("an operator of the CA looks").length;
  const looking = dispatch(["top", world.spiffeId, "--path", "/top", "--limit", "3", "-o", "json"], { stdout: (text) => void (stdout += text), stderr: () => undefined, env });
  await vi.waitFor(() => expect(world.log.text().split("an operator of the CA looks").length).toBeGreaterThan(before), { timeout: 30_000, interval: 50 });
  for (const path of ["/top", "/top", "/other", "/top/missing"]) await ask(path);
  expect(await looking).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject([{ method: "GET", path: "/top", count: 2, good: 2, clientId: hello.spiffeId, serverId: world.spiffeId }, { path: "/top/missing", count: 1, good: 1 }]);
}, 60_000);

test("tap and top go on with --watch until they are ended, and tell each request as JSON in a line", async () => {
  const [tapped, topped] = [[] as string[], [] as string[]];
  let end = (): void => undefined;
  const stopped = new Promise<void>((resolve) => (end = resolve));
  const ioOf = (lines: string[]) => ({ stdout: (text: string) => void lines.push(...text.split("\n").filter((line) => line !== "")), stderr: () => undefined, env });
  const before = world.log.text().split("an operator of the CA looks").length;
  const running = [tap([world.spiffeId, "--path", "/watched", "--watch", "-o", "json"], ioOf(tapped), () => stopped), top([world.spiffeId, "--path", "/watched", "--watch", "-o", "json"], ioOf(topped), () => stopped)];
  await vi.waitFor(() => expect(world.log.text().split("an operator of the CA looks").length).toBe(before + 2), { timeout: 30_000, interval: 50 });
  await ask("/watched");
  const counted = (): readonly unknown[] => (JSON.parse(topped.at(-1) ?? "[]") as readonly { readonly count: number }[]).map(({ count }) => count);
  await vi.waitFor(() => expect([tapped.length, counted()]).toEqual([1, [1]]), { timeout: 30_000, interval: 50 });
  await ask("/watched");
  await vi.waitFor(() => expect([tapped.length, counted()]).toEqual([2, [2]]), { timeout: 30_000, interval: 50 });
  end();
  expect(await Promise.all(running)).toEqual([0, 0]);
}, 120_000);
