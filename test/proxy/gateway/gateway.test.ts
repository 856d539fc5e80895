import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { parseSpiffeId } from "../../../ca/pki/spiffe-id.ts";
import { startGateway, type Gateway, type GatewaySettings } from "../../../proxy/gateway/gateway.ts";
import { jsonLog } from "../../../proxy/log.ts";
import { createMetrics, type Metrics } from "../../../proxy/metrics.ts";
import { eastIdentity, eastIssuer, holderOf, inboundHalf, metricValue, outboundHalf, portOf } from "../../support/data-path.ts";
import { manyAddresses } from "../../support/many-addresses.ts";
import { echoApp, httpApp, knock, readAll, readUntil, tcpApp, tcpClient, tlsClient, tlsServer, type TestServer } from "../../support/tcp.ts";

const leaf = eastIssuer.leaf({ spiffeId: "spiffe://east/hello" });
const ends: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function keep<T extends { close(): void | Promise<void> }>(what: T): T {
  ends.push(() => what.close());
  return what;
}

async function start(routes: Readonly<Record<string, number>>, settings: Partial<GatewaySettings> = {}): Promise<{ gateway: Gateway; port: number; metrics: Metrics; logged: () => string }> {
  const metrics = createMetrics();
  const lines: string[] = [];
  const log = jsonLog({ level: "info", now: Date.now, write: (line) => void lines.push(line) });
  const gateway = keep(await startGateway({
    listen: { host: "127.0.0.1", port: 0 }, routes: new Map(Object.entries(routes).map(([name, port]) => [name, { host: "127.0.0.1", port }])),
    maxConnections: 100, helloTimeoutMs: 60_000, connectTimeoutMs: 5000, idleTimeoutMs: 60_000, ...settings,
  }, { metrics, log }));
  return { gateway, port: portOf(gateway.address), metrics, logged: () => lines.join("") };
}

const server = async (says: string): Promise<TestServer> => keep(await tlsServer(leaf, (socket) => socket.end(says)));
const refusals = (metrics: Metrics): string[] => metrics.text().split("\n").filter((line) => line.startsWith("gateway_refused_total{"));

describe("a connection goes where its name leads", () => {
  test("by the whole name, or by its ending; the whole name first", async () => {
    const [world, west, deep] = [await server("world"), await server("west"), await server("deep")];
    const { port, metrics } = await start({ "world.default.west": world.port, "*.west": west.port, "*.default.west": deep.port });
    const ask = async (servername: string) => String((await readAll(await tlsClient(port, { leaf, servername }))).bytes);
    expect(await ask("world.default.west")).toBe("world");
    expect(await ask("WORLD.default.west")).toBe("world");
    expect(await ask("other.default.west")).toBe("deep");
    expect(await ask("a.b.west")).toBe("west");
    expect(metricValue(metrics, "gateway_connections_total", 'route="world.default.west"')).toBe(2);
    expect(metricValue(metrics, "gateway_connections_total", 'route="*.west"')).toBe(1);
  });

  test("mutual TLS is between the proxies at its ends: each knows the other's identity, policy is the server's", async () => {
    const app = keep(await httpApp((request, response) => response.end(String(request.headers["countersign-client-id"]))));
    const world = await inboundHalf({ holder: holderOf(eastIdentity("world")), app: { host: "127.0.0.1", port: app.port }, inboundProtocol: "http" });
    keep(world.path);
    const { port } = await start({ "world.default.west": world.port });
    const route = (id: string) => ({ host: "world.default.west", port: undefined, address: { host: "127.0.0.1", port }, serverId: parseSpiffeId(id) });
    for (const [id, status] of [["spiffe://east/world", 200], ["spiffe://east/another", 502]] as const) {
      const hello = await outboundHalf({ holder: holderOf(eastIdentity("hello")), outbound: { host: "127.0.0.1", port: 0 }, routes: [route(id)] });
      keep(hello.path);
      const client = await tcpClient(hello.port);
      client.write("GET / HTTP/1.1\r\nHost: world.default.west\r\nConnection: close\r\n\r\n");
      const answer = String((await readAll(client)).bytes);
      expect(answer).toContain(`HTTP/1.1 ${status}`);
      if (status === 200) expect(answer).toContain("spiffe://east/hello");
    }
  });

  test("whole, in both directions, with half-close", async () => {
    const echo = keep(await tlsServer(leaf, (socket) => socket.pipe(socket)));
    const { port } = await start({ echo: echo.port });
    const client = await tlsClient(port, { leaf, servername: "echo" });
    const sent = Buffer.alloc(3_000_000, "0123456789");
    client.end(sent);
    expect((await readAll(client)).bytes.equals(sent)).toBe(true);
  });

  test("a side that resets resets the other", async () => {
    const cut = keep(await tcpApp((socket) => socket.once("data", () => socket.resetAndDestroy())));
    const { port } = await start({ cut: cut.port });
    await expect(tlsClient(port, { leaf, servername: "cut" })).rejects.toMatchObject({ code: "ECONNRESET" });
  });
});

describe("is refused before anything is connected", () => {
  test("a name that leads nowhere, by the alert that says so", async () => {
    const { port, metrics, logged } = await start({ "world.west": 1 });
    await expect(tlsClient(port, { leaf, servername: "world.east" })).rejects.toThrow(/unrecognized.name/);
    expect(refusals(metrics)).toEqual(['gateway_refused_total{reason="no_route"} 1']);
    expect(logged()).toContain("--route world.east=ADDRESS:PORT");
  });

  test("no route by an ending that is no label of its own", async () => {
    const { port } = await start({ "*.west": 1 });
    for (const servername of ["west", "notwest"]) await expect(tlsClient(port, { leaf, servername })).rejects.toThrow(/unrecognized.name/);
  });

  test.each([
    ["not_tls", "GET / HTTP/1.1\r\n\r\n"],
    ["malformed", "\x16\x03\x01\x00\x00"],
  ])("%s", async (reason, bytes) => {
    let reached = 0;
    const app = keep(await tcpApp((socket) => void (reached++, socket.destroy())));
    const { port, metrics, gateway } = await start({ "*.west": app.port });
    const client = await tcpClient(port);
    client.write(bytes, "latin1");
    expect((await readAll(client)).ending).toBe("reset");
    expect(refusals(metrics)).toEqual([`gateway_refused_total{reason="${reason}"} 1`]);
    expect(reached).toBe(0);
    await expect.poll(() => gateway.open()).toBe(0);
  });

  test("a client that names nobody", async () => {
    const { port, metrics } = await start({ "*.west": 1 });
    await expect(tlsClient(port, { leaf })).rejects.toThrow();
    expect(refusals(metrics)).toEqual(['gateway_refused_total{reason="no_server_name"} 1']);
  });

  test("a client that says nothing until the deadline, and one that goes away", async () => {
    const { port, metrics } = await start({ "*.west": 1 }, { helloTimeoutMs: 50 });
    expect((await readAll(await tcpClient(port))).ending).toBe("reset");
    expect(refusals(metrics)).toEqual(['gateway_refused_total{reason="hello_timeout"} 1']);
    const other = await start({ "*.west": 1 });
    (await tcpClient(other.port)).end("\x16\x03");
    await expect.poll(() => refusals(other.metrics), { timeout: 30_000 }).toEqual(['gateway_refused_total{reason="hello_abandoned"} 1']);
  });

  test("more than fit, and more of one address that say nothing", async () => {
    const echo = keep(await echoApp());
    const { port, metrics, gateway } = await start({ "*.west": echo.port }, { maxConnections: 2 });
    const held = [await tcpClient(port), await tcpClient(port)];
    await expect.poll(() => gateway.open(), { timeout: 30_000 }).toBe(2);
    expect(await knock(port)).toBe("");
    expect(refusals(metrics)).toEqual(['gateway_refused_total{reason="too_many_connections"} 1']);
    for (const client of held) client.destroy();
    const many = await start({ "*.west": echo.port }, { maxConnections: 1000 });
    const silent = await Promise.all(Array.from({ length: 256 }, () => tcpClient(many.port)));
    await expect.poll(() => many.gateway.open(), { timeout: 30_000 }).toBe(256);
    expect(await knock(many.port)).toBe("");
    expect(refusals(many.metrics)).toEqual(['gateway_refused_total{reason="too_many_waiting"} 1']);
    for (const client of silent) client.destroy();
    // Those who are gone wait no longer.
    await expect.poll(() => many.gateway.open(), { timeout: 30_000 }).toBe(0);
    const client = await tcpClient(many.port);
    await expect.poll(() => many.gateway.open(), { timeout: 30_000 }).toBe(1);
    client.destroy();
  });

  test("more of one IPv6 network that say nothing, each from an address of its own", async () => {
    const restore = manyAddresses();
    ends.push(restore);
    const { port, metrics, gateway } = await start({ "*.west": 1 }, { maxConnections: 1000 });
    const silent = await Promise.all(Array.from({ length: 256 }, () => tcpClient(port)));
    await expect.poll(() => gateway.open(), { timeout: 30_000 }).toBe(256);
    expect(await knock(port)).toBe("");
    expect(refusals(metrics)).toEqual(['gateway_refused_total{reason="too_many_waiting"} 1']);
    for (const client of silent) client.destroy();
  });

  test("a route whose server is not there", async () => {
    const gone = await server("");
    await gone.close();
    const { port, metrics } = await start({ gone: gone.port });
    await expect(tlsClient(port, { leaf, servername: "gone" })).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(refusals(metrics)).toEqual(['gateway_refused_total{reason="server_unreachable"} 1']);
  });
});

test("draining lets open connections finish and takes no new ones", async () => {
  const echo = keep(await tlsServer(leaf, (socket) => socket.pipe(socket)));
  const { gateway, port } = await start({ echo: echo.port });
  const client = await tlsClient(port, { leaf, servername: "echo" });
  client.write("a");
  await readUntil(client, "a");
  const drained = gateway.drain(30_000);
  const late = connect(port, "127.0.0.1");
  expect((await once(late, "error") as [NodeJS.ErrnoException])[0].code).toBe("ECONNREFUSED");
  client.end("b");
  expect(String((await readAll(client)).bytes)).toBe("b");
  await drained;
  expect(gateway.open()).toBe(0);
});
