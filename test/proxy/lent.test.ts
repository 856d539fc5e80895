import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { promisify } from "node:util";
import { afterEach, expect, test, vi } from "vitest";
import { lendingServer } from "../../proxy/lent.ts";
import { joinSockets } from "../../proxy/pipe.ts";

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

const size = 24_000_000;
