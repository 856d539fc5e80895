import { Agent, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { forwardRequest, type ForwardOwner } from "../../proxy/http-forward.ts";
import { forwardUpgrade } from "../../proxy/http-upgrade.ts";
import { httpApp, readAll, tcpApp, tcpClient, type TestServer } from "../support/tcp.ts";

const servers: TestServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

/** A forwarder before an app that sends these bytes, whose owner throws where it is told of an answer. */
async function faulty(reply: string): Promise<{ port: number; bugs: unknown[]; appClosed: () => boolean }> {
  let closed = false;
  const onClosed = (): void => void (closed = true);
  const app = await tcpApp((socket) => {
    socket.on("error", () => undefined).on("end", onClosed).on("close", onClosed).once("data", () => socket.write(reply));
  });
  const bugs: unknown[] = [];
  const owner: ForwardOwner = {
    failed: () => ({ status: 502, text: "failed" }),
    answered() { throw new Error("our bug"); },
    breakOff: ({ socket }) => void socket.resetAndDestroy(),
    closing: () => false,
    bug: (_request, error) => bugs.push(error),
  };
  const upstream = { agent: new Agent(), connect: { host: "127.0.0.1", port: app.port }, path: "/", setHeaders: [] };
  const proxy = await httpApp((request, response) => forwardRequest(request, response, upstream, owner));
  proxy.server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => forwardUpgrade({
    request, head, upstream, owner, client: { socket, reset: () => void socket.resetAndDestroy() }, resetUpstream: (to) => void to.destroy(), idleTimeoutMs: 1000,
  }));
  servers.push(app, proxy);
  return { port: proxy.port, bugs, appClosed: () => closed };
}

describe("a fault of ours ends one exchange, on both sides, and is reported", () => {
  const upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
  const plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  const table: readonly [string, string, string][] = [
    ["a response", plain, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"],
    ["a refused upgrade", upgrade, "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n"],
    ["an upgrade", upgrade, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"],
  ];
  for (const [claim, request, reply] of table) {
    test(claim, async () => {
      const { port, bugs, appClosed } = await faulty(reply);
      const client = await tcpClient(port);
      client.write(request);
      expect(await readAll(client)).toEqual({ bytes: Buffer.alloc(0), ending: "reset" });
      expect(bugs).toMatchObject([{ message: "our bug" }]);
      await expect.poll(appClosed).toBe(true);
    });
  }
});
