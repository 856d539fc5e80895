import { once } from "node:events";
import type { Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { joinSockets } from "../../proxy/pipe.ts";
import { tcpApp, tcpClient, type TestServer } from "../support/tcp.ts";

const servers: TestServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

/** Both ends of a connection. */
async function connection(): Promise<{ readonly near: Socket; readonly far: Socket }> {
  const accepted = Promise.withResolvers<Socket>();
  const server = await tcpApp((socket) => accepted.resolve(socket.on("error", () => undefined)));
  servers.push(server);
  return { near: await tcpClient(server.port), far: await accepted.promise };
}

const end = (socket: Socket) => ({ socket, reset: () => void socket.resetAndDestroy() });

test("the last bytes for one who has ended and does not read are not kept for ever, though the other side is gone", async () => {
  const [client, app] = [await connection(), await connection()];
  joinSockets(end(client.far), end(app.near), 3000);
  app.far.pause().end();
  await once(client.near.resume(), "end");
  // Until the kernel takes no more, so that the last piece stays with us.
  while (app.near.writableLength === 0) {
    const passed = app.near.bytesWritten;
    client.near.write(Buffer.alloc(16 * 1024));
    while (app.near.bytesWritten === passed) await new Promise(setImmediate);
  }
  client.near.end();
  await once(client.far, "close");
  expect(app.near.destroyed).toBe(false);
  await once(app.near, "close");
});
