import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { promisify } from "node:util";
import { afterEach, expect, test, vi } from "vitest";
import { lendTls, lendingServer, writeLent } from "../../proxy/lent.ts";
import { joinSockets } from "../../proxy/pipe.ts";
import { eastIssuer } from "../support/data-path.ts";
import { readAll, tcpApp, tlsClient, tlsServer, type TestServer } from "../support/tcp.ts";

const servers: Server[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

async function listening(server: Server): Promise<number> {
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

test("bytes that a peer in plain text has not taken yet are not overwritten by those of other connections", async () => {
  const [slow, nears]: [Socket[], Socket[]] = [[], []];
  const farPort = await listening(createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => slow.push(socket)));
  const nearPort = await listening(lendingServer((near) => {
    nears.push(near);
    const far = connect({ port: farPort, host: "127.0.0.1", allowHalfOpen: true });
    joinSockets({ socket: near, lent: true, reset: () => near.destroy() }, { socket: far, reset: () => far.destroy() }, 60_000);
  }));
  const letters = ["a", "b", "c"];
  const clients = letters.map((letter) => connect(nearPort, "127.0.0.1").resume().end(letter.repeat(size)));
  const closed = clients.map((client) => once(client, "close"));
  await vi.waitFor(() => expect([slow.length, ...nears.map((near) => near.isPaused())]).toEqual([3, true, true, true]), { timeout: 20_000 });
  const got = await Promise.all(slow.map(async (socket) => {
    const counts = new Map<string, number>();
    for await (const chunk of socket) for (const letter of (chunk as Buffer).toString("latin1").match(/(.)\1*/g)!) counts.set(letter[0]!, (counts.get(letter[0]!) ?? 0) + letter.length);
    socket.end();
    return [...counts];
  }));
  expect(got.sort()).toEqual(letters.map((letter) => [[letter, size]]));
  await Promise.all(closed);
});

test("the server counts a connection until it is closed", async () => {
  const taken: Socket[] = [];
  const server = lendingServer((socket) => void taken.push(socket.resume()));
  const port = await listening(server);
  const client = connect(port, "127.0.0.1");
  await once(server, "connection");
  const count = promisify(server.getConnections.bind(server));
  expect(await count()).toBe(1);
  const closed = once(taken[0]!, "close");
  client.destroy();
  taken[0]!.end();
  await closed;
  await new Promise((resolve) => setImmediate(resolve));
  expect(await count()).toBe(0);
});

const leaf = eastIssuer.leaf({ spiffeId: "spiffe://east/world" });

test.each(["TLS", "plain text"])("what is written of lent bytes stays as it was, however slow its reader is: %s", async (kind) => {
  const readers: Promise<{ readonly bytes: Buffer }>[] = [];
  const start = Promise.withResolvers<void>();
  const take = (socket: Socket): void => void readers.push(start.promise.then(() => readAll(socket)));
  const server: TestServer = kind === "TLS" ? await tlsServer(leaf, take) : await tcpApp(take);
  const sinks: Socket[] = [];
  for (const count of [1, 2]) {
    sinks.push(kind === "TLS" ? await tlsClient(server.port, { leaf }) : connect(server.port, "127.0.0.1"));
    await vi.waitFor(() => expect(readers).toHaveLength(count), { timeout: 30_000 });
  }
  const lent = Buffer.alloc(16_000);
  for (let round = 0; round < 500; round++) {
    for (const [index, sink] of sinks.entries()) writeLent(sink, lent.fill(index + 1));
    // So that the kernel takes what it can before the next.
    await new Promise(setImmediate);
  }
  for (const sink of sinks) sink.end();
  start.resolve();
  const whole = await Promise.all(readers);
  expect(whole.map(({ bytes }, index) => [bytes.length, bytes.equals(Buffer.alloc(bytes.length, index + 1))])).toEqual([[8_000_000, true], [8_000_000, true]]);
  for (const sink of sinks) sink.destroy();
  await server.close();
});

test("TLS connections lend one buffer, and what comes of a read after its listener paused waits in its order", async () => {
  const accepted: TLSSocket[] = [];
  const server = await tlsServer(leaf, (socket) => accepted.push(socket));
  const clients: TLSSocket[] = [];
  for (const count of [1, 2]) {
    clients.push(await tlsClient(server.port, { leaf }));
    await vi.waitFor(() => expect(accepted).toHaveLength(count), { timeout: 30_000 });
  }
  const [first, second] = accepted as [TLSSocket, TLSSocket];
  const places = new Set<ArrayBufferLike>();
  const chunks: Buffer[] = [];
  const sent = randomBytes(300_000);
  expect([lendTls(first), lendTls(second)]).toEqual([true, true]);
  const bothEnded = [first, second].map((socket) => once(socket, "end"));
  let toldWhilePaused = 0;
  first.on("data", (bytes: Buffer) => {
    if (first.isPaused()) toldWhilePaused++;
    if (first.readableLength === 0) places.add(bytes.buffer);
    chunks.push(Buffer.from(bytes));
    first.pause();
    // Other connections use the buffer meanwhile.
    second.once("data", () => first.resume());
    clients[1]!.write("!".repeat(16_000));
  });
  second.on("data", (bytes: Buffer) => void places.add(bytes.buffer));
  clients[0]!.end(sent);
  await bothEnded[0];
  clients[1]!.end();
  await bothEnded[1];
  expect(toldWhilePaused).toBe(0);
  expect(Buffer.concat(chunks).equals(sent)).toBe(true);
  // One read of the kernel's is several records; the first of each is lent.
  expect(chunks.length).toBeGreaterThan(10);
  expect(places.size).toBeLessThan(chunks.length);
  for (const socket of [...clients, first, second]) socket.destroy();
  await server.close();
});

const size = 24_000_000;
