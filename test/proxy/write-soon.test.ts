import fc from "fast-check";
import type { Socket } from "node:net";
import { setImmediate as endOfTurn } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { maxFewBytes, writeSoon } from "../../proxy/write-soon.ts";
import { eastIssuer } from "../support/data-path.ts";
import { readAll, tcpApp, tcpClient, tlsClient, tlsServer, type TestServer } from "../support/tcp.ts";

const servers: TestServer[] = [];
afterEach(() => Promise.all(servers.splice(0).map((server) => server.close())));
const leaf = eastIssuer.leaf({ spiffeId: "spiffe://east/world" });

test("few bytes leave at the end of the turn they are written in", async () => {
  const app = await started(tcpApp(() => undefined));
  const sockets = await Promise.all([1, 2, 3].map(() => tcpClient(app.port)));
  for (const socket of sockets) expect([writeSoon(socket, Buffer.from("few")), socket.writableLength]).toEqual([true, 3]);
  await endOfTurn();
  expect(sockets.map(({ writableLength }) => writableLength)).toEqual([0, 0, 0]);
  for (const socket of sockets) socket.destroy();
});

test("many bytes leave at once, and what was kept before them", async () => {
  const app = await started(tcpApp((socket) => void socket.resume()));
  const socket = await tcpClient(app.port);
  writeSoon(socket, Buffer.from("few"));
  writeSoon(socket, Buffer.alloc(maxFewBytes + 1));
  expect(socket.writableLength).toBe(0);
  socket.destroy();
});

test.each(["TLS", "plain text"])("what is written arrives in its order, whatever its sizes, and all of it before the end: %s", async (kind) => {
  const sizes = fc.array(fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 1, max: 100 }) }, fc.integer({ min: maxFewBytes - 1, max: 3 * maxFewBytes }), fc.constant("turn" as const)), { maxLength: 20 });
  await fc.assert(fc.asyncProperty(sizes, fc.boolean(), async (steps, destroysSoon) => {
    const read = Promise.withResolvers<Buffer>();
    const take = (socket: Socket): void => void readAll(socket).then(({ bytes }) => read.resolve(bytes), read.reject);
    const server = await started(kind === "TLS" ? tlsServer(leaf, take) : tcpApp(take));
    const socket = kind === "TLS" ? await tlsClient(server.port, { leaf }) : await tcpClient(server.port);
    const written: Buffer[] = [];
    for (const [index, step] of steps.entries()) {
      if (step === "turn") await endOfTurn();
      else {
        written.push(Buffer.alloc(step, index + 1));
        writeSoon(socket, Buffer.from(written.at(-1)!));
      }
    }
    if (destroysSoon) socket.destroySoon();
    else socket.end();
    expect(await read.promise).toEqual(Buffer.concat(written));
    socket.destroy();
  }), { numRuns: 40 });
});

test("of a socket that is destroyed nothing more is written, and no other one suffers", async () => {
  const read: Promise<{ readonly bytes: Buffer }>[] = [];
  const app = await started(tcpApp((socket) => void read.push(readAll(socket))));
  const [gone, stays] = [await tcpClient(app.port), await tcpClient(app.port)];
  await expect.poll(() => read.length).toBe(2);
  writeSoon(gone, Buffer.from("lost"));
  writeSoon(stays, Buffer.from("kept"));
  gone.destroy();
  await endOfTurn();
  stays.end();
  expect((await Promise.all(read)).map(({ bytes }) => bytes.toString()).sort()).toEqual(["", "kept"]);
});

async function started(starting: Promise<TestServer>): Promise<TestServer> {
  const server = await starting;
  servers.push(server);
  return server;
}
