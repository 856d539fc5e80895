import { afterEach, expect, test } from "vitest";
import { httpServer, watchSlowHeads } from "../../proxy/http-server.ts";
import { readAll, tcpApp, tcpClient, type TestServer } from "../support/tcp.ts";

let front: TestServer;
const never = (): void => expect.unreachable("no request was complete");
const server = httpServer({ idleTimeoutMs: 60_000, headTimeoutMs: 60, onRequest: never, onUpgrade: never, onConnect: never });
watchSlowHeads(server);

afterEach(async () => {
  server.close();
  await front.close();
});

test("a head that trickles in is cut off, on a connection the server was handed too", async () => {
  front = await tcpApp((socket) => void server.emit("connection", socket));
  const client = await tcpClient(front.port);
  client.write("GET / HTTP/1.1\r\nHost: a\r\n");
  const trickle = setInterval(() => client.write("X-A: 1\r\n"), 10);
  const { bytes } = await readAll(client);
  clearInterval(trickle);
  expect(String(bytes)).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n[^]*did not arrive in time/);
});
