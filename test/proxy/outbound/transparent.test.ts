import { once } from "node:events";
import type { AddressInfo, Server } from "node:net";
import { afterEach, expect, test } from "vitest";
import { parseSpiffeId } from "../../../ca/pki/spiffe-id.ts";
import type { SocketAddress } from "../../../proxy/address.ts";
import { DialError, type Dial } from "../../../proxy/outbound/dial.ts";
import { routeTable, type Route, type RouteTable } from "../../../proxy/outbound/routes.ts";
import { transparentListener } from "../../../proxy/outbound/transparent.ts";
import { outboundHalf, type HalfOptions } from "../../support/data-path.ts";
import { echoApp, knock, readAll, readUntil, tcpClient } from "../../support/tcp.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A listener to which everything was redirected on its way to `to`. */
async function listener(to: SocketAddress | undefined, options: HalfOptions & { readonly dial?: Dial; readonly routed?: readonly Route[]; readonly found?: RouteTable } = {}) {
  const { dial = () => Promise.reject(new DialError("connect_failed", "nobody there")), routed = [], found = routeTable(routed), ...config } = options;
  const half = await outboundHalf({ transparentDefault: "passthrough", ...config });
  closing.push(() => half.path.close());
  const refused: string[] = [];
  const server: Server = transparentListener({
    config: { ...half.config, ...config }, source: half.holder, metrics: half.metrics, connections: half.path.connections, dial, routes: found,
    originalDestination: () => to, refuse: ({ reason }) => void refused.push(reason),
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => server.close());
  return { half, refused, port: (server.address() as AddressInfo).port };
}

async function echo(): Promise<SocketAddress> {
  const app = await echoApp();
  closing.push(() => app.close());
  return { host: "127.0.0.1", port: app.port };
}

test("an address without a route passes through unsecured, and it is shown what goes there and why", async () => {
  const { half, port } = await listener(await echo());
  const app = await tcpClient(port);
  app.write(Buffer.of(0x16, 3, 1, 0, 1, 1));
  await readUntil(app, "\x16\x03\x01\0\x01\x01");
  expect(half.path.connections.edges()).toMatchObject([
    { direction: "outbound", clientId: "spiffe://east/hello", serverId: "", protocol: "tls", secured: false, reason: "no_route", bytesRead: 6, bytesWritten: 6 },
  ]);
  expect(half.metrics.text()).toContain('tcp_open_connections{direction="outbound",tls="false",client_id="spiffe://east/hello",server_id="",no_tls_reason="no_route"} 1');
  app.end();
  expect((await readAll(app)).ending).toBe("end");
  await expect.poll(() => half.path.connections.count()).toBe(0);
});

test("nothing passes through where the operator did not say so, or a route names who must answer and nobody does", async () => {
  const to = await echo();
  const unnamed = await listener(to, { transparentDefault: "refuse" });
  expect(await knock(unnamed.port)).toBe("");
  expect(unnamed.refused).toEqual(["no_route"]);
  const route = { host: "world", port: undefined, address: to, serverId: parseSpiffeId("spiffe://east/world") };
  const named = await listener(to, { routed: [route] });
  expect(await knock(named.port, "secret")).toBe("");
});

test("what passes through counts towards the maximum, and ends with the proxy", async () => {
  const { half, refused, port } = await listener(await echo(), { maxConnections: 1 });
  const app = await tcpClient(port);
  app.write("ping");
  await readUntil(app, "ping");
  expect(await knock(port)).toBe("");
  expect(refused).toEqual(["too_many_connections"]);
  const all = readAll(app);
  half.path.close();
  expect((await all).ending).toBe("reset");
});

test("a connection that was not redirected is refused, or the proxy would connect to itself for ever", async () => {
  const { refused, port } = await listener(undefined);
  expect(await knock(port)).toBe("");
  expect(refused).toEqual(["not_redirected"]);
});

test("what passes through unsecured is cut once a service names who must answer there", async () => {
  const to = await echo();
  const inForce = new Map<string, Route>();
  const { half, port } = await listener(to, { found: { find: (host) => inForce.get(host), leadingTo: () => undefined } });
  const app = await tcpClient(port);
  app.write("ping");
  await readUntil(app, "ping");
  const rest = readAll(app);
  half.holder.setPolicy(half.holder.policy()!);
  expect(half.path.connections.count()).toBe(1);
  inForce.set(to.host, { host: to.host, port: undefined, address: to, serverId: parseSpiffeId("spiffe://east/world") });
  half.holder.setPolicy(half.holder.policy()!);
  expect((await rest).ending).toBe("reset");
});
