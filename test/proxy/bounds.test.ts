import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { parseSpiffeId } from "../../ca/pki/spiffe-id.ts";
import type { InboundDataPath } from "../../proxy/inbound/server.ts";
import type { OutboundDataPath } from "../../proxy/outbound/start.ts";
import { eastIdentity, eastIssuer, inboundHalf, metricValue, outboundHalf, portOf, type HalfOptions, type TestHalf } from "../support/data-path.ts";
import { httpApp, readAll, readUntil, tcpApp, tcpClient, tlsClient, type TestServer } from "../support/tcp.ts";
import type { TestLeaf } from "../support/test-ca.ts";

const hello = eastIssuer.leaf({ spiffeId: "spiffe://east/hello" });
const closing: (() => unknown)[] = [];
afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

async function inbound(app: TestServer, options: HalfOptions = {}): Promise<TestHalf<InboundDataPath>> {
  const half = await inboundHalf({ app: { host: "127.0.0.1", port: app.port }, ...options });
  closing.push(() => app.close(), () => half.path.close());
  return half;
}

/** hello's outbound side before world's inbound side, by the forward proxy and by a local port. */
async function pair(app: TestServer, options: HalfOptions = {}): Promise<{ inbound: TestHalf<InboundDataPath>; outbound: TestHalf<OutboundDataPath>; tcpPort: number }> {
  const world = await inbound(app, options);
  const to = { address: { host: "127.0.0.1", port: world.port }, serverId: parseSpiffeId("spiffe://east/world") };
  const outbound = await outboundHalf({ routes: [{ host: "world", port: undefined, ...to }], tcpListeners: [{ listen: { host: "127.0.0.1", port: 0 }, ...to }] });
  closing.push(() => outbound.path.close());
  return { inbound: world, outbound, tcpPort: portOf(outbound.path.addresses[1]) };
}

const greeter = (): Promise<TestServer> => httpApp((request, response) => request.resume().on("end", () => response.end("ok")).on("error", () => undefined));
const echo = (): Promise<TestServer> => tcpApp((socket) => void socket.on("error", () => undefined).pipe(socket));

async function served(port: number, leaf: TestLeaf): Promise<string> {
  const client = await tlsClient(port, { leaf });
  client.write("GET / HTTP/1.1\r\nHost: world\r\nConnection: close\r\n\r\n");
  return String((await readAll(client)).bytes);
}

const cuts = (half: TestHalf<InboundDataPath>, reason: string): number => metricValue(half.metrics, "connections_cut_total", `reason="${reason}"`);

describe.concurrent("a connection that is kept busy by a trickle ends all the same", () => {
  test("when the certificate expires that opened it", async () => {
    const half = await inbound(await echo(), { inboundProtocol: "tcp" });
    const client = await tlsClient(half.port, { leaf: eastIssuer.leaf({ spiffeId: "spiffe://east/hello", notAfterMs: Date.now() + 6000 }) });
    const drip = setInterval(() => client.write("x"), 100);
    expect((await readAll(client)).ending).toBe("reset");
    clearInterval(drip);
    expect(cuts(half, "expired")).toBe(1);
  });

  test("at the maximum age, in the middle of a body that drips in", async () => {
    const half = await inbound(await greeter(), { connectionMaxAgeMs: 1500 });
    const client = await tlsClient(half.port, { leaf: hello });
    client.write("POST / HTTP/1.1\r\nHost: world\r\nContent-Length: 1000000\r\n\r\n");
    const drip = setInterval(() => client.write("x"), 20);
    expect((await readAll(client)).ending).toBe("reset");
    clearInterval(drip);
    expect(cuts(half, "max_age")).toBe(1);
  });
});

test("a tunnel on which nothing moves ends before the maximum age, in order, on both sides of a pair", async () => {
  const [{ now }, { random }] = [Date, Math];
  let aheadMs = 0;
  // Both sides take the clock and the dice when they start; without these one may end it before anybody has looked whether it is quiet.
  Date.now = () => now() + aheadMs;
  Math.random = () => 0;
  const { inbound: world, outbound, tcpPort } = await pair(await echo(), { inboundProtocol: "tcp", connectionMaxAgeMs: 600_000 }).finally(() => {
    Date.now = now;
    Math.random = random;
  });
  const client = await tcpClient(tcpPort);
  client.write("ping");
  await readUntil(client, "ping");
  aheadMs = 530_000;
  const hurry = setInterval(() => (aheadMs += 1000), 200);
  expect((await readAll(client)).ending).toBe("end");
  client.end();
  await expect.poll(() => world.path.connections.count() + outbound.path.connections.count(), { timeout: 30_000 }).toBe(0);
  clearInterval(hurry);
  expect(cuts(world, "max_age")).toBe(0);
}, 120_000);

test("a hundred clients whose heads and bodies drip in keep nobody from being served", async () => {
  const half = await inbound(await greeter());
  const slow = await Promise.all(Array.from({ length: 100 }, () => tlsClient(half.port, { leaf: hello })));
  for (const [index, client] of slow.entries()) client.write(index % 2 === 0 ? "GET / HTTP/1.1\r\nHost: w" : "POST / HTTP/1.1\r\nHost: world\r\nContent-Length: 1000000\r\n\r\nx");
  const drip = setInterval(() => slow.forEach((client) => client.write("x")), 20);
  for (let count = 0; count < 10; count++) expect(await served(half.port, hello)).toMatch(/^HTTP\/1\.1 200 /);
  clearInterval(drip);
  expect(half.path.connections.count()).toBeGreaterThanOrEqual(100);
  for (const client of slow) client.destroy();
}, 120_000);

// Elsewhere nobody tells which timer a connection has.
test.skipIf(process.platform !== "linux")("a peer that vanishes without a word is looked for, on both sides of a pair", async () => {
  const { inbound: world, tcpPort } = await pair(await echo(), { inboundProtocol: "tcp" });
  const client = await tcpClient(tcpPort);
  client.write("ping");
  await readUntil(client, "ping");
  // Once what was sent is acknowledged, the keepalive timer is the one that runs.
  await expect.poll(() => keepAliveTimers(world.port), { timeout: 30_000 }).toEqual({ from: true, to: true });
  client.destroy();
});

/** Whether the connection to and from this port has a keepalive timer. @source proc(5), /proc/net/tcp: `tr` is 2, `when` in hundredths of a second */
function keepAliveTimers(port: number): { from: boolean; to: boolean } {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const established = readFileSync("/proc/net/tcp", "latin1").split("\n").map((line) => line.trim().split(/\s+/)).filter((fields) => fields[3] === "01");
  const has = (field: 1 | 2): boolean => established.some((fields) => {
    const [timer, when] = fields[5]?.split(":") ?? [];
    return fields[field]?.endsWith(`:${hex}`) === true && timer === "02" && Number.parseInt(when ?? "", 16) <= 3000;
  });
  return { from: has(1), to: has(2) };
}

test("rotation on both sides drops neither a long transfer, nor a slow answer, nor a WebSocket", async () => {
  const [block, blocks] = [Buffer.alloc(64 * 1024, "rotation"), 400];
  const plain = await pair(await tcpApp((socket) => void trickle(socket.on("error", () => undefined), block, blocks)), { inboundProtocol: "tcp" });
  const web = await httpApp((_request, response) => void trickle(response, block, blocks));
  web.server.on("upgrade", (_request, socket: Socket) => {
    socket.on("error", () => undefined).write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    socket.pipe(socket);
  });
  const http = await pair(web);

  const transfer = digestOf(await tcpClient(plain.tcpPort));
  const answer = new Promise<string>((resolve, reject) => {
    httpRequest({ host: "127.0.0.1", port: http.outbound.port, path: "http://world/" }, (response) => resolve(digestOf(response))).on("error", reject).end();
  });
  const socket = await tcpClient(http.outbound.port);
  socket.write("GET http://world/ HTTP/1.1\r\nHost: world\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
  await readUntil(socket, "\r\n\r\n");

  let rotations = 0;
  let done = false;
  const rotating = (async () => {
    while (!done || rotations < minRotations) {
      for (const { inbound: one, outbound: other } of [plain, http]) {
        one.holder.setIdentity(eastIdentity("world"));
        other.holder.setIdentity(eastIdentity("hello"));
      }
      rotations += 1;
      socket.write(`${rotations}.`);
      await readUntil(socket, `${rotations}.`);
      await delay(5);
    }
  })();
  const expected = createHash("sha256");
  for (let count = 0; count < blocks; count++) expected.update(block);
  const digest = expected.digest("hex");
  expect(await Promise.all([transfer, answer])).toEqual([digest, digest]);
  done = true;
  await rotating;
  socket.destroy();
});

/** Sends in many pieces, with the event loop in between, so that much happens meanwhile. */
async function trickle(sink: NodeJS.WritableStream, block: Buffer, blocks: number): Promise<void> {
  for (let count = 0; count < blocks; count++) {
    if (!sink.write(block)) await once(sink, "drain");
    await new Promise(setImmediate);
  }
  sink.end();
}

async function digestOf(source: NodeJS.ReadableStream): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of source) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

const minRotations = 10;
